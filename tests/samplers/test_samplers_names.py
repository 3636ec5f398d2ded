"""Names of samplers: canonical spelling, parsing, ranges, suggestions."""

from __future__ import annotations

import contextlib
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import samplers
from flowbench._core.errors import UserError
from flowbench._core.grammar import Call, number, numbers_in_glob, parse, split_top

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite)
def test_a_number_reads_back_as_the_same_float(value: float) -> None:
    text = number(value)
    assert float(text) == value
    assert number(float(text)) == text
    assert parse(f"word({text})") == Call("word", (value + 0.0,))


def test_numbers_are_printed_with_two_decimals_or_as_many_as_needed() -> None:
    assert [number(v) for v in (0, 1, -1.2, 0.125, 2.75 / 6, -0.0)][:4] == ["0.00", "1.00", "-1.20", "0.125"]
    assert number(-0.0) == "0.00"
    assert float(number(2.75 / 6)) == 2.75 / 6


@pytest.mark.parametrize(
    ("given_", "canonical"),
    [
        ("lognorm(0,1)", "lognorm(0.00,1.00)"),
        (" lognorm( +0.0 , 1e0 ) ", "lognorm(0.00,1.00)"),
        ("mode(-.54)", "mode(-0.54)"),
        ("uniform()", "uniform"),
        ("shifted(3)", "shift(3.00)"),
        ("shift(3,uniform)", "shift(3.00)"),
        ("shift(lognorm(0,1),3)", "shift(3.00,lognorm(0.00,1.00))"),
        ("mix(lognorm(0,1),.9)", "mix(0.90,lognorm(0.00,1.00))"),
        ("curriculum(.5, shift(3, cosmap))", "curriculum(shift(3.00,cosmap),0.50)"),
        ("stretched(.95,1)", "stretched(0.95,1.00,0.10)"),
    ],
)
def test_any_spelling_parses_to_one_canonical_name(given_: str, canonical: str) -> None:
    assert samplers.get(given_).name == canonical
    assert samplers.get(canonical).name == canonical


@given(st.floats(-5, 5), st.floats(0.01, 10))
def test_names_keep_every_digit(m: float, s: float) -> None:
    name = samplers.get(f"lognorm({m!r},{s!r})").name
    assert samplers.get(name).name == name
    assert parse(name).args == (m + 0.0, s)


@pytest.mark.parametrize("name", samplers.names())
def test_listed_names_are_canonical(name: str) -> None:
    assert samplers.get(name).name == name


def test_the_study_has_39_samplers() -> None:
    from samplers.sampler_names import STUDY

    assert len(STUDY) == len(set(STUDY)) == 1 + 30 + 8 + 1


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("lognrm(0,1)", "did you mean 'lognorm'"),
        ("lognorm(0)", "lacks the number s"),
        ("lognorm(0,1,2)", "too many parameters"),
        ("lognorm(0,0)", "s > 0"),
        ("lognorm(0,-1)", "s > 0"),
        ("mix(0.5,mix(0.5,cosmap))", "write one mix"),
        ("mode(1.76)", r"\[-1, 1.75194\], not 1.76"),
        ("mode(-1.01)", r"\[-1, 1.75194\]"),
        ("laplace(0,0)", "b > 0"),
        ("cauchy(0,-1)", "gamma > 0"),
        ("cosscale(0)", "s > 0"),
        ("beta(0,1)", "beta needs a and b"),
        ("ushape(0)", "ushape needs a"),
        ("trunclognorm(0,1,.5,.5)", "lo < hi"),
        ("trunclognorm(0,1,-.1,.5)", "0 <= lo"),
        ("trunclognorm(-9,.1,.9,1)", "less than 1e-6"),
        ("stretched(0,1,2)", "floor in"),
        ("shift(0)", "alpha > 0"),
        ("mix(2,cosmap)", r"p in \[0, 1\]"),
        ("mix(.5)", "lacks a sampler"),
        ("curriculum(cosmap,1)", r"at in \(0, 1\)"),
        ("curriculum(curriculum(cosmap,.2),.5)", "start with another curriculum"),
        ("curriculum(cosmap,.5,curriculum(cosmap,.2))", "end with another curriculum"),
        ("lognorm(0,nan)", "not a finite number"),
        ("lognorm(0,1e999)", "not a finite number"),
        ("lognorm(0,inf)", "not a finite number"),
        ("lognorm(0,1", "matching parentheses"),
        ("lognorm(0,1))", "matching parentheses"),
        ("lognorm(0,)", "not a finite number"),
        ("", "cannot read the name ''"),
        ("(1)", "cannot read the name"),
    ],
)
def test_a_mistake_is_one_sentence(spec: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        samplers.get(spec)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=30))
def test_no_text_gives_anything_but_a_sampler_or_a_user_error(text: str) -> None:
    with contextlib.suppress(UserError):
        assert samplers.get(text).name


def test_splitting_respects_parentheses() -> None:
    assert split_top("a(b/c,d)/e@f", "/") == ["a(b/c,d)", "e@f"]
    assert numbers_in_glob("*/lognorm( 0 , 1 )") == "*/lognorm(0.00,1.00)"
    assert numbers_in_glob("edm(*,1.2)") == "edm(*,1.20)"


def test_importing_and_listing_names_needs_no_torch() -> None:
    code = "import sys, samplers as s; s.get('mode(1)'); s.names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_mode_limit() -> None:
    from samplers.study import MODE_MAX

    assert math.isclose(MODE_MAX, 1.7519384, abs_tol=1e-7)
    assert samplers.get(f"mode({MODE_MAX!r})").name.startswith("mode(1.7519")
