"""Every given formulation behind every given timestep sampler."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

import samplers
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import numbers_in_glob
from formulations.specs import get, read


def cross(formulations: Iterable[str], globs: Iterable[str]) -> list[str]:
    """Canonical names of each formulation with its sampler replaced by each of the given, without repeats.

    ``cross(["rf/cosmap", "v/cos"], ["lognorm(0,1)"])`` is ``["rf/lognorm(0.00,1.00)",
    "v/cos/lognorm(0.00,1.00)"]``.

    Raises:
        UserError: an unknown sampler, or a glob that matches none.
    """
    chosen = [name for glob in globs for name in _samplers(glob)]
    return list(dict.fromkeys(_behind(f, s) for f in formulations for s in chosen))


def _behind(formulation: str, sampler: str) -> str:
    spec = read(formulation)
    # edm's own name carries its sampler, so the cross is spelled with target and path
    base = f"{spec.target}/{spec.path}" if spec.target is not None else spec.base
    tail = (f"@{spec.space}" if spec.space else "") + (f"+{spec.weight}" if spec.weight else "")
    return get(f"{base}/{sampler}{tail}").name


def _samplers(glob: str) -> list[str]:
    if not any(c in glob for c in "*?["):
        return [samplers.get(glob).name]
    found = [name for name in samplers.names() if fnmatchcase(name, numbers_in_glob(glob))]
    if not found:
        raise UserError(f"no timestep sampler matches {glob!r}: {nearest(glob, samplers.names())}")
    return found
