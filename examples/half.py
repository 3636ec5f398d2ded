"""Formulations on data of deviation 1/2, as pixels in [-1, 1] have about. Does it matter that flowbench trains at 1?

``half/NAME`` is NAME for data c x with c = 1/2, in the units of x, as a path begins at the data itself: ``a x + (b / c) n``
instead of ``a c x + b n``. The network sees ``c`` times that, and is to give ``p c x + q n``, with weight and time input as
NAME has them at that time; so it is trained as on c x, and everything is measured on x. Sampling begins and ends at the
b / a of NAME, in units of x; of EDM's own sigma that is from 40 to .001.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch

import formulations
from formulations import Formulation, register
from formulations.formulation import Point

SCALE = 0.5
NAMES = ("rf", "rf/lognorm(0,1)", "rf/mode(1.29)", "eps/linear", "v/cos", "edm")


def half(name: str) -> Formulation:
    """``name`` for data of half the deviation."""
    whole = formulations.get(name)

    def at(here: Point) -> Point:
        return Point(here.t, whole.path, whole.target)

    def path(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = whole.path(t)
        return a, b / SCALE

    return replace(
        whole,
        path=path,
        target=lambda here: (SCALE * at(here).p, at(here).q),
        weight=lambda here: whole.weight(at(here)),
        c_in=lambda here: SCALE * whole.c_in(at(here)),
        c_noise=lambda here: whole.c_noise(at(here)),
        top=None if whole.top is None else whole.top / SCALE,
        formula=f"{name} for data of deviation 1/2",
    )


def add(name: str) -> None:
    """Register ``half/rf-lognorm-0-1`` and so on."""
    words = "-".join(filter(None, re.split("[/(),]", name)))
    register(f"half/{words}")(lambda: half(name))


for each in NAMES:
    add(each)
