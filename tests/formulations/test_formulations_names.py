"""Names of formulations: the study's list, canonical spelling, globs, suggestions."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import formulations
from flowbench._core.errors import UserError
from formulations import get, match, names, register
from formulations.formulation import Formulation

STUDY = """
eps/linear v/linear eps/cos v/cos rf rf/cosmap edm/rf edm/cos rf/mode(-1.00) rf/mode(-0.54) rf/mode(-0.08)
rf/mode(0.38) rf/mode(0.83) rf/mode(1.00) rf/mode(1.29) rf/mode(1.75) rf/lognorm(-1.00,0.20)
rf/lognorm(-1.00,0.60) rf/lognorm(-1.00,1.00) rf/lognorm(-1.00,1.40) rf/lognorm(-1.00,1.80)
rf/lognorm(-1.00,2.20) rf/lognorm(-0.50,0.20) rf/lognorm(-0.50,0.60) rf/lognorm(-0.50,1.00)
rf/lognorm(-0.50,1.40) rf/lognorm(-0.50,1.80) rf/lognorm(-0.50,2.20) rf/lognorm(0.00,0.20)
rf/lognorm(0.00,0.60) rf/lognorm(0.00,1.00) rf/lognorm(0.00,1.40) rf/lognorm(0.00,1.80)
rf/lognorm(0.00,2.20) rf/lognorm(0.50,0.20) rf/lognorm(0.50,0.60) rf/lognorm(0.50,1.00)
rf/lognorm(0.50,1.40) rf/lognorm(0.50,1.80) rf/lognorm(0.50,2.20) rf/lognorm(1.00,0.20)
rf/lognorm(1.00,0.60) rf/lognorm(1.00,1.00) rf/lognorm(1.00,1.40) rf/lognorm(1.00,1.80)
rf/lognorm(1.00,2.20) edm(-1.20,0.60) edm(-1.20,1.20) edm(-1.20,1.80) edm(-0.60,0.60) edm(-0.60,1.20)
edm(-0.60,1.80) edm(0.00,0.60) edm(0.00,1.20) edm(0.00,1.80) edm(0.60,0.60) edm(0.60,1.20) edm(0.60,1.80)
edm(1.20,0.60) edm(1.20,1.20) edm(1.20,1.80)
"""
THE_61 = STUDY.split()


def test_the_study_is_exactly_these_61() -> None:
    assert len(names("paper")) == 61
    assert sorted(names("paper")) == sorted(THE_61)


def test_the_published_17_are_of_the_study() -> None:
    assert len(set(names("published"))) == 17
    assert set(names("published")) < set(THE_61)
    assert {"rf/lognorm(-0.50,1.00)", "rf/mode(1.29)", "edm(-1.20,1.20)"} < set(names("published"))
    assert "eps/cos" not in names("published")


@pytest.mark.parametrize("name", names("all"))
def test_listed_names_are_canonical(name: str) -> None:
    assert get(name).name == name


def test_suites_do_not_overlap_and_an_unknown_one_is_refused() -> None:
    assert len(set(names("all"))) == len(names("all"))
    with pytest.raises(UserError, match="did you mean 'paper'"):
        names("papers")


@pytest.mark.parametrize(
    ("given_", "canonical"),
    [
        ("rf/lognorm(0,1)", "rf/lognorm(0.00,1.00)"),
        (" rf / lognorm( 0 , 1 ) ", "rf/lognorm(0.00,1.00)"),
        ("u/rf", "rf"),
        ("velocity/rf/cosmap", "rf/cosmap"),
        ("rf/uniform", "rf"),
        ("edm", "edm(-1.20,1.20)"),
        ("edm(-1.2,1.2,.5)", "edm(-1.20,1.20)"),
        ("edm(-1.2,1.2,1)", "edm(-1.20,1.20,1.00)"),
        ("edm/lognorm(-1.2,1.2)", "edm(-1.20,1.20)"),
        ("edm(-1.2,1.2)/mode(1)", "edm/mode(1.00)"),
        ("edm/uniform", "edm/rf"),
        ("edm/cosmap", "edm/cos"),
        ("edm/rf(A)", "edm/rf"),
        ("edm/rf(B)", "edm/rf(B)"),
        ("edm/cos(B)", "edm/rf(B)"),
        ("F/ve", "edm/rf"),
        ("F(.5)/ve/lognorm(0,1)", "edm(0.00,1.00)"),
        ("F(1)/ve", "F(1.00)/ve"),
        ("F(1)/ve/lognorm(0,1)", "edm(0.00,1.00,1.00)"),
        ("v/gvp", "v/cos"),
        ("x0/rf@v", "x/rf@v"),
        ("x/rf@x", "x/rf"),
        ("eps/cos@eps", "eps/cos"),
        ("v/cos@v", "v/cos"),
        ("rf@v", "rf"),
        ("u/cos@v", "u/cos@v"),
        ("eps/vp", "eps/vp(0.10,20.00)"),
        ("u/poly", "u/poly(2.00)"),
        ("F/trig", "F(0.50)/trig(0.50)"),
        ("v/cos+minsnr", "v/cos+minsnr(5.00)"),
        ("x/rf/lognorm(.8,.8)@v+bell", "x/rf/lognorm(0.80,0.80)@v+bell"),
        ("edm(0,1)+p2(1)", "edm(0.00,1.00)+p2(1.00,1.00)"),
        ("rf/mode(1.2916666666666667)", "rf/mode(1.2916666666666667)"),
    ],
)
def test_any_spelling_gives_one_canonical_name(given_: str, canonical: str) -> None:
    assert get(given_).name == canonical
    assert get(canonical).name == canonical


@given(
    base=st.sampled_from(["rf", "eps/linear", "v/cos", "x/vp", "F(1)/ve", "edm", "F/trig(.3)", "u/poly(3)"]),
    sampler=st.sampled_from(["", "/lognorm({0!r},{1!r})", "/laplace({0!r},{1!r})", "/shift({1!r},cosmap)"]),
    tail=st.sampled_from(["", "@x", "@eps", "@v", "+minsnr({1!r})", "+sigmoid({0!r})", "@v+bell"]),
    m=st.floats(-3, 3),
    s=st.floats(0.05, 3),
)
@settings(max_examples=200, deadline=None)
def test_canonical_names_are_fixed_points(base: str, sampler: str, tail: str, m: float, s: float) -> None:
    name = get(f"{base}{sampler}{tail}".format(m, s)).name
    assert get(name).name == name


@given(st.text(alphabet="rfedmvxepscoF/@+(),.01-* ", max_size=24))
def test_no_text_gives_anything_but_a_formulation_or_a_user_error(text: str) -> None:
    with contextlib.suppress(UserError):
        assert get(get(text).name).name == get(text).name


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("", "names no formulation|cannot read"),
        ("rff", "did you mean 'rf'"),
        ("rf/lognrm(0,1)", "did you mean 'lognorm'"),
        ("rf/mode(2)", r"\[-1, 1.75194\]"),
        ("rf/lognorm(0,0)", "s > 0"),
        ("edm(0,0)", "s > 0"),
        ("edm(0)", r"edm\(Pm,Ps\)"),
        ("edm/rf(C)", r"edm/rf\(B\)"),
        ("edm(0,1)/rf", "no sampler is called 'rf'"),
        ("edm(-1,1,0)", "sd > 0"),
        ("eps/cso", "did you mean 'cos'"),
        ("eps", "lacks a path"),
        ("rf(1)", "rf takes no numbers"),
        ("v(1)/cos", "takes no numbers"),
        ("eps/vp(1,2,3)", "takes 2 numbers"),
        ("eps/vp(2,1)", "beta_min <= beta_max"),
        ("F(0)/ve", "sd > 0"),
        ("u/poly(0)", r"n in \[0.1, 10\]"),
        ("u/ve", r"F\(1\)/ve"),
        ("v/ve", r"F\(1\)/ve"),
        ("lognorm(0,1)", r"'rf/lognorm\(0,1\)'"),
        ("rf@y", "no loss space is called 'y'"),
        ("rf@x@v", "at most one"),
        ("rf+minsn", "did you mean 'minsnr'"),
        ("rf+minsnr(0)", "gamma > 0"),
        ("rf@x+minsnr", "drop '@x'"),
        ("rf+minsnr+bell", "at most one"),
        ("rf/cosmap/cosmap", "only one sampler"),
        ("rf/mode(nan)", "not a finite number"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_nearest_choice(spec: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        get(spec)
    assert "\n" not in str(caught.value)


def test_globs_expand_within_a_suite_in_order() -> None:
    assert match(["edm*"]) == [n for n in names("paper") if n.startswith("edm")]
    assert match(["*/cos", "v/cos", "rf"]) == ["eps/cos", "v/cos", "edm/cos", "rf"]
    assert len(match(["*"])) == 61
    assert len(match(["rf/lognorm(*,1)"])) == 5
    assert match(["rf/mode(1.29)"], "published") == ["rf/mode(1.29)"]


def test_a_sampler_can_be_put_behind_every_base() -> None:
    assert formulations.bases() == ["eps/linear", "v/linear", "eps/cos", "v/cos", "rf", "edm"]
    assert match(["*/lognorm(0,1)"]) == [
        "eps/linear/lognorm(0.00,1.00)",
        "v/linear/lognorm(0.00,1.00)",
        "eps/cos/lognorm(0.00,1.00)",
        "v/cos/lognorm(0.00,1.00)",
        "rf/lognorm(0.00,1.00)",
        "edm(0.00,1.00)",
    ]
    assert match(["eps/*/laplace(0,.5)"]) == ["eps/linear/laplace(0.00,0.50)", "eps/cos/laplace(0.00,0.50)"]
    assert match(["v/cos/mode*"]) == [n.replace("rf", "v/cos") for n in match(["rf/mode*"])]


def test_a_glob_or_name_that_matches_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"matches 'edn\*'"):
        match(["edn*"])
    with pytest.raises(UserError, match="did you mean"):
        match(["rf/cosmop"])


def test_cross_replaces_the_sampler_of_each() -> None:
    assert formulations.cross(["rf/cosmap", "edm", "x/rf@v"], ["lognorm(0,1)", "mode(1)"]) == [
        "rf/lognorm(0.00,1.00)",
        "rf/mode(1.00)",
        "edm(0.00,1.00)",
        "edm/mode(1.00)",
        "x/rf/lognorm(0.00,1.00)@v",
        "x/rf/mode(1.00)@v",
    ]


def test_registered_names_join_the_grammar() -> None:
    @register("my/path(k)")
    def path(k: float = 2.0) -> Formulation:
        """A path of mine."""
        return Formulation(lambda t: (1 - t, t**k), formulations.targets.velocity)

    assert names("registered") == ["my/path(2.00)"]
    assert "my/path(2.00)" in names("all")
    assert get("my/path").name == "my/path(2.00)"
    assert get("my/path(3)/lognorm(0,1)@x").name == "my/path(3.00)/lognorm(0.00,1.00)@x"
    assert get("my/path").formula == "A path of mine."
    assert match(["my/*"], "all") == ["my/path(2.00)"]
    assert match(["my/*/cosmap"], "registered") == ["my/path(2.00)/cosmap"]
    with pytest.raises(UserError, match="exists already"):
        register("my/path(k)")(path)
    with pytest.raises(UserError, match=r"the form is 'my/path\(k\)'"):
        get("my/path(1,2)")
    with pytest.raises(UserError, match="no formulation is called 'my/pat'; did you mean"):
        get("my/pat")


def test_naming_a_formulation_needs_no_torch() -> None:
    code = (
        "import sys, formulations as f; [f.get(n) for n in f.names('all')]; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
