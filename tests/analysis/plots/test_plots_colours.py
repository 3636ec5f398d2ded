"""The look of formulations: fixed by the name, distinct in colour, in grey and by the colour-blind, on white and black."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import colormaps
from matplotlib.lines import Line2D
from numpy.typing import NDArray

import formulations
from analysis.plots.heat import MAP
from formulations import colours

XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
"""Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15(6)), severity 1, on linear RGB."""


def linear(colour: str) -> NDArray[np.float64]:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    xyz = XYZ @ rgb.clip(0, 1) / (XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    a, b = sorted(float(XYZ[1] @ linear(c)) + 0.05 for c in (one, other))
    return b / a


def look(name: str) -> tuple[object, ...]:
    return colours.colour(name), colours.marker(name), colours.linestyle(name)


@pytest.mark.parametrize(
    ("name", "colour", "marker", "dashes"),
    [
        ("rf", "#0a6fad", "o", None),
        ("rf/lognorm(0.00,1.00)", "#cf5d03", ">", None),
        ("eps/linear", "#e3a01a", "d", (4.5, 1.5)),
        ("x/cos@v", "#c25a7a", "X", None),
    ],
)
def test_the_look_is_fixed(name: str, colour: str, marker: str, dashes: object) -> None:
    """By the name alone: not by the run, the process or the order of the ranking."""
    assert look(name) == (colour, marker, (0, dashes))


def test_every_catalogued_formulation_looks_different() -> None:
    names = formulations.names("all")
    assert len({look(name) for name in names}) == len(names) > 100


def test_published_formulations_differ_in_grey() -> None:
    for one, other in itertools.combinations(formulations.names("published"), 2):
        light = [lab(linear(colours.colour(n)))[0] for n in (one, other)]
        same = colours.marker(one) == colours.marker(other) and colours.linestyle(one) == colours.linestyle(
            other
        )
        assert not same or abs(light[0] - light[1]) > 6, (one, other)


@pytest.mark.parametrize(
    "seen", [np.eye(3), DEUTERANOPIA, PROTANOPIA], ids=["normal", "deuteranopia", "protanopia"]
)
def test_families_differ_for_every_eye(seen: NDArray[np.float64]) -> None:
    """By more than 12 units of CIELAB, a dozen just noticeable differences, at their middle lightness."""
    middle = {f: colours._hex(*entry) for f, entry in colours.FAMILIES.items()}
    for one, other in itertools.combinations(middle, 2):
        apart = lab(seen @ linear(middle[one])) - lab(seen @ linear(middle[other]))
        assert np.linalg.norm(apart) > 12, (one, other)


def test_colours_show_on_white_and_on_black() -> None:
    for name in formulations.names("all"):
        assert contrast(colours.colour(name), "#ffffff") > 2
        assert contrast(colours.colour(name), "#161616") > 2.5


def test_numbers_change_lightness_and_not_hue() -> None:
    dark, light = (lab(linear(colours.colour(f"rf/lognorm({m},1.00)"))) for m in ("-1.00", "1.00"))
    assert light[0] - dark[0] > 12
    hues = [np.degrees(np.arctan2(c[2], c[1])) for c in (dark, light)]
    assert abs(hues[0] - hues[1]) < 3


@pytest.mark.parametrize(
    ("name", "family", "known"),
    [
        ("rf/lognorm(0.00,1.00)", "rf/lognorm", "rf/lognorm"),
        ("rf/shift(3.00,lognorm(0.00,1.00))", "rf/shift", None),
        ("edm(0.00,0.60)", "edm", "edm"),
        ("edm/rf", "edm/rf", "edm"),
        ("eps/cos+minsnr(5.00)", "eps/cos+minsnr", "eps"),
        ("rf/lognorm(0.00,1.00)@eps", "rf/lognorm@eps", "rf/lognorm"),
        ("mine", "mine", None),
    ],
)
def test_families(name: str, family: str, known: str | None) -> None:
    assert (colours.family(name), colours.known(name)) == (family, known)


@settings(max_examples=30)
@given(st.text(max_size=30))
def test_any_name_has_a_look(name: str) -> None:
    colour, marker, line = look(name)
    Line2D([], [], color=colour, marker=marker, linestyle=line)  # raises if one is invalid
    assert contrast(str(colour), "#ffffff") > 2


@pytest.mark.parametrize(
    "name", ["f(1e300,1e300)", "f(-1e999)", "f(nan)", "rf/lognorm(99999999999999999999,0)"]
)
def test_absurd_numbers(name: str) -> None:
    Line2D([], [], color=colours.colour(name), marker=colours.marker(name), linestyle=colours.linestyle(name))


def test_numbers_are_readable_on_every_shade_of_the_map() -> None:
    for share in np.linspace(0, 1, 101):
        shade = colormaps[MAP](share)[:3]
        hexed = "#" + "".join(f"{round(255 * part):02x}" for part in shade)
        assert contrast(colours.ink_on(*shade), hexed) > 4


def test_the_map_is_monotone_in_grey() -> None:
    light = [
        lab(linear("#" + "".join(f"{round(255 * p):02x}" for p in colormaps[MAP](s)[:3])))[0]
        for s in np.linspace(0, 1, 33)
    ]
    assert (np.diff(light) > 0).all()


def test_ink_is_nobodys_colour() -> None:
    names = formulations.names("all")
    assert not {colours.INK, colours.MUTED} & {colours.colour(name) for name in names}
