"""What a network is trained to minimise: one file an objective. Called by training, plans and provenance.

Importing needs no torch. A plugin adds one with ``@register("mine")`` on a function that returns an ``Objective``.
"""

from bench.objectives import flow  # noqa: F401  (importing registers the names)
from bench.objectives.check_objective import check, probe
from bench.objectives.objective import (
    FROZEN,
    Batch,
    Frozen,
    Objective,
    Predict,
    State,
    canonical,
    get,
    register,
    registry,
    undeclared,
)

__all__ = [
    "FROZEN",
    "Batch",
    "Frozen",
    "Objective",
    "Predict",
    "State",
    "canonical",
    "check",
    "get",
    "probe",
    "register",
    "registry",
    "undeclared",
]

registry.check = lambda name: check(get(name))
