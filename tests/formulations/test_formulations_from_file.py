"""``FILE.py:NAME`` names a formulation of a plugin file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import formulations
from flowbench._core.errors import UserError
from formulations.formulation_registry import registry
from formulations.from_file import named
from samplers.sampler_registry import registry as samplers_registry

ONE = """
from formulations import Formulation, register
from formulations.targets import velocity

def made(k):
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")

@register("{}(k)")
def one(k: float = 2.0) -> Formulation:
    return made(k)
"""
ANOTHER = """
@register("{}")
def another() -> Formulation:
    return made(3)
"""
SAMPLER = """
import samplers

@samplers.register("ramp_of_file(k)")
def ramp(k: float) -> samplers.Sampler:
    return samplers.Sampler(lambda u: u ** (1 / k))
"""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What a test registers is gone after it."""
    kept = [(r, dict(r.entries)) for r in (registry, samplers_registry)]
    yield
    for r, entries in kept:
        r.entries.clear()
        r.entries.update(entries)


def file(folder: Path, *parts: str) -> Path:
    made = folder / "mine.py"
    made.write_text("".join(parts))
    return made


def test_a_name_without_a_file_is_the_catalogues() -> None:
    assert named("rf/lognorm(0,1)") == (found := named(" rf/lognorm(0.0,1)"))
    assert (found.name, found.file) == ("rf/lognorm(0.00,1.00)", None)


@pytest.mark.parametrize("registered", ["late", "my/late", "our/own/late"])
@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("late", "(2.00)"),
        ("late(3)", "(3.00)"),
        ("late(3)/cosmap", "(3.00)/cosmap"),
        ("late/cosmap", "(2.00)/cosmap"),
        ("late@x", "(2.00)@x"),
    ],
)
def test_the_last_part_of_a_registered_name_is_enough(
    registered: str, written: str, rest: str, tmp_path: Path
) -> None:
    mine = file(tmp_path, ONE.format(registered))
    found = named(f"{mine}:{written}")
    assert (found.name, found.file) == (registered + rest, mine)
    assert formulations.get(found.name).name == found.name


def test_a_whole_name_comes_before_a_last_part(tmp_path: Path) -> None:
    mine = file(tmp_path, ONE.format("my/late"), ANOTHER.format("late"))
    assert named(f"{mine}:late").name == "late"
    assert named(f"{mine}:my/late").name == "my/late(2.00)"


def test_the_only_formulation_needs_no_name(tmp_path: Path) -> None:
    assert named(str(file(tmp_path, ONE.format("my/late"), SAMPLER))).name == "my/late(2.00)"


def test_a_sampler_of_the_file_stands_behind_any_base(tmp_path: Path) -> None:
    mine = file(tmp_path, ONE.format("my/late"), SAMPLER)
    assert named(f"{mine}:rf/ramp_of_file(2)").name == "rf/ramp_of_file(2.00)"
    assert named(f"{mine}:late/ramp_of_file(2)").name == "my/late(2.00)/ramp_of_file(2.00)"


@pytest.mark.parametrize(
    ("parts", "written", "sentence"),
    [
        ((ONE.format("my/late"),), ":lat", r"no formulation 'lat', but 'my/late\(k\)'; did you mean 'late'"),
        ((ONE.format("my/late"),), ":rf", r"mine\.py registers no formulation 'rf', but 'my/late\(k\)'"),
        ((ONE.format("my/late"),), ":latent", r"registers no formulation 'latent'"),
        ((ONE.format("my/late"),), ":", r"registers no formulation ''"),
        (
            (ONE.format("a/late"), ANOTHER.format("b/late")),
            ":late",
            r"mine\.py:late may be 'a/late\(k\)' or 'b/late': write the whole name",
        ),
        (
            (ONE.format("a/late"), ANOTHER.format("b/late")),
            "",
            r"several formulations, 'a/late\(k\)' and 'b/late': choose one, for example .*mine\.py:a/late",
        ),
        ((SAMPLER,), "", r"mine\.py registers no formulation$"),
        ((ONE.format("my/late").replace(": float = 2.0", ": float"),), "", r"0 parameters, but the form is 'my/late\(k\)'"),
    ],
)  # fmt: skip
def test_mistakes_are_a_sentence(parts: tuple[str, ...], written: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        named(f"{file(tmp_path, *parts)}{written}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.py' is not a file"):
        named(f"{tmp_path / 'nothing.py'}:late")
