"""A plugin with a copy and a formulation of its own, and a comparison that takes seconds."""

from __future__ import annotations

from .runs import SMALL

PLUGIN = """
from formulations import Formulation, register
from formulations.targets import velocity

@register("my/copy")
def copy() -> Formulation:
    return Formulation(path=lambda t: (1 - t, t), target=velocity, sampler="lognorm(0,1)")

@register("my/late(k)")
def late(k: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")
"""
RF = "rf/lognorm(0.00,1.00)"
TINY = [
    *(word for word in SMALL if word not in ("--formulations", "rf/lognorm(0,1)", "eps/linear")), "--steps", "4",
    "--validations", "1", "--compile", "off", "--settings", "2:1", "--weights", "ema", "--samples", "8",
    "--train-images", "32",
]  # fmt: skip
LEARNS = [
    "--preset", "quick", "--depth", "1", "--width", "32", "--heads", "1", "--steps", "150", "--batch", "32",
    "--validations", "1", "--compile", "off", "--settings", "5:1", "--weights", "ema", "--samples", "128",
    "--lr", "0.01", "--ema", "0.5", "--device", "cpu",
]  # fmt: skip
"""What makes a small network learn something in seconds."""
