"""What is learned: paths, targets and weights, the catalogue of names, and the algebra that serves them all.

``get(name)`` gives a ``Formulation``; ``Formulation.coeffs(t)`` gives the seven scalars; ``loss``, ``split``,
``mix`` and ``common`` are the same functions for every formulation.
"""

import flowbench  # noqa: F401  (looks whether it can run here)
from flowbench._core.plugin import load_plugin
from formulations.algebra import common, log_snr, loss, mix, split
from formulations.catalogue import SUITES, bases, match, names
from formulations.check_formulation import check
from formulations.crossing import cross
from formulations.formulation import Coeffs, Formulation, Point
from formulations.formulation_registry import register, registry
from formulations.specs import get
from samplers.sampler_registry import registry as sampler_registry

__all__ = [
    "SUITES",
    "Coeffs",
    "Formulation",
    "Point",
    "bases",
    "check",
    "common",
    "cross",
    "get",
    "load_plugin",
    "log_snr",
    "loss",
    "match",
    "mix",
    "names",
    "register",
    "split",
]

registry.check = lambda name: check(get(name))
sampler_registry.check = lambda name: check(get(f"rf/{name}"))
