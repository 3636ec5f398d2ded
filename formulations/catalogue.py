"""The listed formulations, and shell globs over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import Call, numbers_in_glob, split_top
from formulations.formulation_registry import registry
from formulations.specs import get, read, suggested
from samplers.sampler_names import LATER, STUDY

PAPER: tuple[str, ...] = (
    "eps/linear",
    "v/linear",
    "eps/cos",
    "v/cos",
    "rf",
    *(f"rf/{s}" for s in STUDY if s != "uniform"),
    *(f"edm({m:.2f},{s:.2f})" for m in (-1.2, -0.6, 0, 0.6, 1.2) for s in (0.6, 1.2, 1.8)),
    "edm/rf",
    "edm/cos",
)
"""The 61 of the study (arXiv 2403.03206, section 5.1), in its spelling."""

PUBLISHED: tuple[str, ...] = (
    "rf/lognorm(0.00,1.00)",
    "rf/lognorm(1.00,0.60)",
    "rf/lognorm(0.50,0.60)",
    "rf/mode(1.29)",
    "rf/lognorm(0.50,1.00)",
    "eps/linear",
    "rf/mode(1.75)",
    "rf/cosmap",
    "edm(0.00,0.60)",
    "rf",
    "v/linear",
    "edm(0.60,1.20)",
    "v/cos",
    "edm/cos",
    "edm/rf",
    "edm(-1.20,1.20)",
    "rf/lognorm(-0.50,1.00)",
)
"""The 17 for which the paper prints numbers: its table 1 in rank order, and one more of its table 2."""

EXTRA: tuple[str, ...] = (
    *(f"rf/{s}" for s in LATER),
    "x/rf",
    "x/rf@eps",
    "x/rf@v",
    "x/rf/lognorm(0.80,0.80)@v",
    "eps/rf@x",
    "eps/rf",
    "eps/rf@v",
    "rf@x",
    "rf@eps",
    "v/cos@x",
    "v/cos@eps",
    "x/cos@v",
    "u/cos",
    "eps/ztlinear",
    "v/ztlinear",
    "eps/vp(0.10,20.00)",
    "v/vp(0.10,20.00)",
    "eps/ve",
    "F(0.50)/trig(0.50)/clock(lognorm(-1.00,1.40))",
    "v/cos/clock(laplace(0.00,0.50))",
    "edm(-0.40,1.00,1.00)",
    "u/poly(2.00)",
    "edm/rf(B)",
    "eps/cos+minsnr(5.00)",
    "v/cos+minsnr(5.00)",
    "v/cos+softminsnr(5.00)",
    "eps/linear+p2(1.00,1.00)",
    "eps/linear+debiased(1000.00)",
    "v/cos+sigmoid(0.00)",
    "rf+edmmono(-1.20,1.20,0.50)",
    "rf+bell",
)
"""What a user expects beyond the study; every other combination of the grammar is reachable by name."""

SUITES = ("paper", "published", "extra", "registered", "all")


def names(suite: str = "paper") -> list[str]:
    """Canonical names of a suite: ``paper`` (61), ``published`` (17), ``extra``, ``registered``, or ``all``.

    Raises:
        UserError: an unknown suite.
    """
    if suite not in SUITES:
        raise UserError(f"no suite is called {suite!r}; {nearest(suite, SUITES)}")
    if suite in {"registered", "all"}:
        registry.load_installed()
    listed: dict[str, Callable[[], Iterable[str]]] = {
        "paper": lambda: PAPER,
        "published": lambda: PUBLISHED,
        "extra": lambda: EXTRA,
        "registered": _registered,
        "all": lambda: (*PAPER, *EXTRA, *_registered()),
    }
    return list(listed[suite]())


def _registered() -> tuple[str, ...]:
    """Registered formulations whose parameters all have defaults."""
    listed = []
    for entry in registry.entries.values():
        numbers = [entry.defaults.get(p) for p in entry.parameters]
        if all(isinstance(n, int | float) for n in numbers):
            listed.append(str(Call(entry.name, tuple(float(n) for n in numbers if n is not None))))
    return tuple(listed)


def bases(suite: str = "paper") -> list[str]:
    """What a suite puts samplers behind: eps/linear, v/linear, eps/cos, v/cos, rf, edm for ``paper``."""
    found: dict[str, None] = {}
    for name in names(suite):
        base = read(name).base
        found.setdefault("edm" if base.startswith("edm") else base)
    return list(found)


def match(globs: Iterable[str], suite: str = "paper") -> list[str]:
    """Canonical names for a list of names and shell globs, in order, without repeats.

    A name without ``*``, ``?`` or ``[`` is validated by ``get``. A glob is matched against the suite; numbers
    in its parentheses may be spelled in any way. A glob that ends in one sampler, ``*/lognorm(0,1)``, stands
    for that sampler behind every base of the suite that its front matches, and ``v/cos/*`` for every listed
    sampler behind ``v/cos``.

    Raises:
        UserError: an unknown name, or a glob that matches nothing.
    """
    found: dict[str, None] = {}
    for glob in globs:
        matched = [get(glob).name] if not _is_glob(glob) else _expand(numbers_in_glob(glob), suite)
        if not matched:
            raise UserError(
                f"no formulation of suite {suite!r} matches {glob!r}; {nearest(glob, names('all'))}"
            )
        found.update(dict.fromkeys(matched))
    return list(found)


def _is_glob(text: str) -> bool:
    return any(c in text for c in "*?[")


def _expand(glob: str, suite: str) -> list[str]:
    import samplers

    *front, last = split_top(glob, "/")
    if front and not _is_glob(last):
        try:
            sampler = samplers.get(last).name
        except UserError:
            pass  # not a sampler: an ordinary glob such as */cos
        else:
            return [get(f"{b}/{sampler}").name for b in bases(suite) if fnmatchcase(b, "/".join(front))]
    listed = [n for n in names(suite) if fnmatchcase(n, glob)]
    if listed or not front or _is_glob("/".join(front)):
        return listed
    return [get(f"{'/'.join(front)}/{s}").name for s in samplers.names() if fnmatchcase(s, last)]


suggested[:0] = [bases]
suggested.append(names)
