"""How weights move: one file an optimiser, all members of a pack at once. Called by training, plans and provenance.

Importing needs no torch. A plugin adds one with ``@register("mine")`` on a function that returns a ``Method``.
"""

from bench.optimisers import adamw, muon  # noqa: F401  (importing registers the names)
from bench.optimisers.check_optimiser import check, probe, same
from bench.optimisers.optimiser import Method, Optimiser, canonical, get, register, registry

__all__ = ["Method", "Optimiser", "canonical", "check", "get", "probe", "register", "registry", "same"]

registry.check = lambda name: check(get(name))
