"""How weights move: one file an optimiser, all members of a pack at once. Called by training, plans and provenance.

Importing needs no torch. A plugin adds one with ``@register("mine")`` on a function that returns a ``Method``.
"""

from bench.optimisers import adamw, muon  # noqa: F401  (importing registers the names)
from bench.optimisers.base import Method, Optimiser, canonical, get, register, registry
from bench.optimisers.conformance import check, probe, same

__all__ = ["Method", "Optimiser", "canonical", "check", "get", "probe", "register", "registry", "same"]

registry.check = lambda name: check(get(name))
