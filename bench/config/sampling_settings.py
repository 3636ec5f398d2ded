"""How images are drawn from a trained network: the setting of its solver, and with which weights. No torch.

The fields of :class:`ControlSetting` are columns of every results table: writers and readers take them from here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING

from bench.config import kept_weights, time_grids
from bench.config.identity import LATER, marked
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import PLAIN
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    from bench import solvers
else:
    solvers = lazy("bench.solvers")  # readers of results need none

FORM = "STEPS:CFG[:SOLVER[:GRID]][:drop=NETWORK[+NETWORK]][:guide=FROM-TO][:rule=cfg++]"
DIGITS = 7
"""Significant digits of a guidance scale: what differs by less is rounding, of float32 too."""


@dataclass(frozen=True, order=True)
class Setting:
    """One sampler setting.

    The solver is one of :mod:`bench.solvers` or of a plugin; ``euler`` is the study's. The grid is the formulation's
    ``native`` one, or another of :mod:`bench.config.time_grids`, also a table of as many times as steps. ``drop`` names
    networks of the text encoder that give what a dropped caption gives, zeros in the study, joined by ``+``, as it draws
    without T5 (arXiv 2403.03206, section 5.3.3); ``none`` by default.
    ``guide`` limits guidance to an interval of the clock b / (a + b) such as ``0.1-0.7`` (arXiv 2404.07724); ``all`` by
    default. Outside of it both outputs are computed, too. ``rule`` is ``cfg``, or ``cfg++`` (arXiv 2406.08070): x^ from the
    guided output, n^ from that without captions, with a scale up to 1.

    Raises :class:`UserError` for values that cannot be sampled with. Whether a solver of that name is there is asked by
    :meth:`check`, so that results are read without the plugins that made them.
    """

    steps: int
    cfg: float
    solver: str = "euler"
    grid: str = "native"
    drop: str = field(default="none", metadata=LATER)
    guide: str = field(default="all", metadata=LATER)
    rule: str = field(default="cfg", metadata=LATER)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", int(self.steps))
        object.__setattr__(self, "cfg", float(f"{float(self.cfg):.{DIGITS}g}"))
        if self.steps < 1 or not 0 <= self.cfg < 1e6:
            raise UserError(f"sampler setting {self.key}: steps must be at least 1 and guidance at least 0")
        if not PLAIN.fullmatch(self.solver):
            raise solvers.registry.unknown(self.solver)
        try:
            object.__setattr__(self, "grid", time_grids.canonical(self.grid))
        except UserError as error:
            raise UserError(f"sampler setting {self.key}: {error}") from None
        if (table := time_grids.listed(self.grid)) and len(table[1]) != self.steps:
            raise UserError(
                f"sampler setting {self.key}: the table has {len(table[1])} {table[0]}, and {self.steps} steps need "
                f"as many, without the end"
            )
        for name, canonical in NAMED.items():
            object.__setattr__(self, name, canonical(getattr(self, name)))
        if self.cfg == 1 and self.guide != Setting.guide:
            raise UserError(f"sampler setting {self.key}: guidance 1 is none, so guide= would change nothing")
        if self.rule == "cfg++" and not 0 < self.cfg <= 1:
            raise UserError(
                f"sampler setting {self.key}: cfg++ has a guidance above 0 and up to 1, for example "
                f"{self.steps}:0.6:rule=cfg++"
            )
        if self.rule == "cfg++" and self.guide != Setting.guide:
            raise UserError(f"sampler setting {self.key}: guide= is of rule=cfg: leave one of them out")

    def check(self) -> None:
        """Raise :class:`UserError` if no solver of that name is there, with the nearest ones, or it needs more steps."""
        solver = solvers.get(self.solver)
        least = solver.least
        if self.rule == "cfg++" and (solver.order > 1 or self.evaluations != self.steps):
            raise UserError(
                f"sampler setting {self.key}: cfg++ makes each state of the x^ and the n^ of one evaluation, and "
                f"{self.solver} combines several: take ddim, euler or ancestral"
            )
        if self.steps < least:
            raise UserError(
                f"sampler setting {self.key}: with fewer than {least} steps {self.solver} is a simpler solver, at least "
                f"on some paths: take {least} steps or more, or euler or ddim"
            )

    @property
    def known(self) -> bool:
        """Whether a solver of that name is there, to count its evaluations."""
        return solvers.registry.find(self.solver) is not None

    @property
    def key(self) -> str:
        """The shortest text that :func:`parse` makes the setting from: ``50:2.5``, ``5:5:ddim:clock``."""
        parts = [str(self.steps), f"{self.cfg:.{DIGITS}g}", self.solver, self.grid]
        while len(parts) > 2 and parts[-1] == USUAL[len(parts) - 1]:
            parts.pop()
        named = {name: getattr(self, name) for name in NAMED}
        return ":".join(
            [*parts, *(f"{n}={value}" for n, value in named.items() if value != getattr(Setting, n))]
        )

    @property
    def dropped(self) -> tuple[str, ...]:
        """The networks of the text encoder whose states are zero."""
        return () if self.drop == Setting.drop else tuple(self.drop.split("+"))

    @property
    def guided(self) -> tuple[float, float] | None:
        """The clocks between which guidance acts; None for all."""
        if self.guide == Setting.guide:
            return None
        first, last = map(float, self.guide.split("-"))
        return first, last

    @property
    def usual(self) -> bool:
        """Whether it has all of the captions and plain guidance throughout, as a perfect network is computed."""
        return (self.drop, self.guide, self.rule) == (Setting.drop, Setting.guide, Setting.rule)

    @property
    def passes(self) -> int:
        """Passes through the network in an evaluation: with captions, and if guided also without."""
        return 1 if self.cfg == 1 and self.rule == Setting.rule else 2

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for one image, with their guidance."""
        return solvers.get(self.solver).evaluations(self.steps)

    @property
    def work(self) -> int:
        """Passes through the network for one image."""
        return self.evaluations * self.passes

    @property
    def way(self) -> str:
        """The key without steps and guidance, and with the solver: ``euler``, ``euler:clock``, ``ddim:guide=0.1-0.7``."""
        parts = self.key.split(":")[2:]
        return ":".join(parts if parts and parts[0] == self.solver else [self.solver, *parts])

    @property
    def method(self) -> str:
        """Solver, grid and what else is not the study's, in words: ``ddim on the clock grid, without t5``."""
        grid = f" on the {self.grid} grid" if self.grid != Setting.grid else ""
        method = f"{self.solver}{grid}" if self.solver != Setting.solver or grid else ""
        without = f"without {' and '.join(self.dropped)}" if self.dropped else ""
        within = "guided between the clocks {:g} and {:g}".format(*self.guided) if self.guided else ""
        rule = "CFG++" if self.rule == "cfg++" else ""
        return ", ".join(filter(None, (method, without, within, rule)))


FIELDS = tuple(f.name for f in fields(Setting))
"""The columns of a setting in a results table."""
NEEDED = tuple(f.name for f in fields(Setting) if f.default is MISSING)
"""Those without a default."""
USUAL = tuple(f.default for f in fields(Setting))
IN_FILES = str.maketrans(":=", "--", "()")
"""How a key's characters are written in names of files."""
LONGEST = 100
"""Characters of a name in files; longer ones, of tables of times, end in a digest."""


@dataclass(frozen=True, order=True, kw_only=True)
class ControlSetting(Setting):
    """A control setting of a dataset: a sampler setting, and the weights that are sampled with."""

    weights: str

    @property
    def kind(self) -> str:
        """Its weights in words, and how is sampled where that is not the study's way."""
        name, _, fraction = self.weights.partition(kept_weights.AT)
        when = f" after {fraction} of the training" if fraction else ""
        kind = f"{'EMA' if name == 'ema' else name} weights{when}"
        return f"{kind}, {self.method}" if self.method else kind

    def __str__(self) -> str:
        return f"{self.kind}, {self.steps} sampling step{'s' * (self.steps != 1)}, guidance {self.cfg:g}"

    @property
    def name(self) -> str:
        """Its name in files: ``ema-50-2.5``, ``ema-50-5-euler-shift3``."""
        whole = f"{self.weights}-{self.key}".translate(IN_FILES)
        if len(whole) <= LONGEST:
            return whole
        return f"{whole[: LONGEST - 17]}-{hashlib.sha256(whole.encode()).hexdigest()[:16]}"


CONTROL = ("weights", *FIELDS)
"""The columns of a control setting of a dataset in a results table."""
WRITTEN = ("weights", *(f.name for f in fields(Setting) if not marked(f, LATER)))
"""Those that results of every age have."""


def canonical_drop(text: str) -> str:
    """``clip_g+t5`` of ``t5+clip_g``. Raises :class:`UserError`."""
    names = sorted(set(text.split("+")))
    if not all(map(PLAIN.fullmatch, names)) or (Setting.drop in names and len(names) > 1):
        raise UserError(
            f"drop={text}: name networks of the text encoder, for example drop=t5 or drop=clip_g+t5"
        )
    return "+".join(names)


def canonical_guide(text: str) -> str:
    """``0.1-0.7`` of ``0.10-0.7``. Raises :class:`UserError`."""
    if text == Setting.guide:
        return text
    try:
        first, last = (float(f"{float(end):.{DIGITS}g}") for end in text.split("-"))
    except ValueError:
        first, last = 1.0, 0.0
    if not 0 <= first < last <= 1:
        raise UserError(
            f"guide={text}: name the clocks b/(a+b) between which guidance acts, for example guide=0.1-0.7"
        )
    return f"{first:.{DIGITS}g}-{last:.{DIGITS}g}"


def canonical_rule(text: str) -> str:
    """``cfg`` or ``cfg++``. Raises :class:`UserError`."""
    if text not in RULES:
        raise UserError(f"rule={text}: {nearest(text, RULES)}")
    return text


RULES = ("cfg", "cfg++")
NAMED: dict[str, Callable[[str], str]] = {
    "drop": canonical_drop,
    "guide": canonical_guide,
    "rule": canonical_rule,
}
"""Fields that are written with their names, ``drop=t5``, and what makes their values canonical."""


def parse(text: str) -> Setting:
    """A setting from its text, :data:`FORM`, whose grid may be a file. Raises :class:`UserError`."""
    parts = text.split(":")
    named: dict[str, str] = {}
    while parts and "=" in parts[-1]:
        name, _, value = parts.pop().partition("=")
        if name not in NAMED or name in named:
            raise UserError(f"{text!r} is not {FORM}, for example 50:5:drop=t5")
        named[name] = value
    parts[3:4] = map(time_grids.written, parts[3:4])
    try:
        if not 2 <= len(parts) <= len(FIELDS) - len(NAMED):
            raise ValueError(text)
        steps, cfg = int(parts[0]), float(parts[1])
    except ValueError:
        raise UserError(f"{text!r} is not {FORM}, for example 50:2.5 or 5:5:ddim") from None
    return Setting(steps, cfg, **named, **dict(zip(FIELDS[2:], parts[2:], strict=False)))
