"""The verdict of formulations against a baseline (`comparisons.baseline`), and what would probably decide."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.comparisons import baseline, comparison
from analysis.comparisons.baseline import Comparison, Comparisons
from analysis.ranking import verdict
from analysis.ranking.smallest_gap import out_of_reach
from analysis.runs import timings
from analysis.runs.run import Run
from analysis.stats.sequential import MOST_SEEDS
from analysis.tables.wording import count
from flowbench._core.errors import UserError

REPLACED = ("--seeds", "--minutes")
"""Options that the advised command does not repeat; each has one value."""
ROUNDING = 0.01
"""Differences below so much of a seed's noise are those of one formulation under two names."""
ALIKE = 4
"""So many seeds that show no other difference end a comparison."""
COMPARE = "bench.compare"
"""The module of the command that stops by its comparisons."""
WORDS = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to"}


@dataclass(frozen=True)
class Command:
    """The command that found the comparisons: the module ``program``, its ``argv``, and the ``seconds`` of a seed if they
    are known."""

    program: str
    argv: tuple[str, ...]
    seconds: float | None


def of_run(run: Run) -> tuple[Comparisons, Command] | None:
    """What a run compares with its baseline, and its command; None if its plan names no baseline, or if there are no values
    yet."""
    plan = next((m for m in run.manifests if m.against), None)
    if plan is None:
        return None
    what = plan.against["decision"]
    try:
        found = baseline.against(run, plan.against["baseline"], None, what["metric"], what["margin"])
    except UserError:
        return None
    return found, Command(plan.program, plan.command, timings.seconds_per_seed(run))


def state(found: Comparisons) -> Literal["decided", "undecided"]:
    """Whether every rival has a verdict."""
    open_ones = [row for row in found.of(found.primary) if row.verdict == "undecided"]
    return "undecided" if open_ones else "decided"


def terminal(found: Comparisons, command: Command) -> str:
    """The verdict in one line, with its state."""
    answer = worded(found, command, str, lambda text: f"`{text}`")
    return f"{state(found).capitalize()}: {answer}"


def worded(
    found: Comparisons, command: Command, name: Callable[[str], str], code: Callable[[str], str]
) -> str:
    """``A is better than C by FID, -12 % [-20, -4] ...``, with every rival; ``name`` and ``code`` set apart names of
    formulations and a command."""
    rows = found.of(found.primary)
    seeds = max(row.n for row in rows)
    sure = f"({count(seeds, 'seed')}; {100 * (1 - found.level):g} % at every look)"
    answer = f"{'; '.join(_said(row, found, name) for row in rows)} {sure}"
    return f"{answer}." if found.settled else f"{answer}; {_advice(rows, seeds, command, code)}."


def progress(found: Comparisons, seconds: float) -> str:
    """What all verdicts still need, if a seed takes so many ``seconds``; empty where nothing is needed or known."""
    left = [row for row in found.of(found.primary) if not row.settled and row.n > 1]
    if not left:
        return ""
    if any(row.seeds_needed is None for row in left):
        return f"over {MOST_SEEDS:,} seeds would decide at the present mean and noise"
    needed, seeds = max(row.seeds_needed or 0 for row in left), max(row.n for row in left)
    more = f", {verdict.duration(seconds * (needed - seeds))} more" if seconds else ""
    return f"{needed:,} seeds in all would decide at the present mean and noise{more}"


def same(row: Comparison) -> bool:
    """Whether a formulation is the baseline under another name, by all that its seeds show: the differences in two seeds or
    more are below `ROUNDING` of the noise between seeds, which is what rounding makes of one training."""
    return row.n > 1 and row.verdict in ("undecided", "equivalent") and row.apart < ROUNDING


def enough(found: Comparisons) -> bool:
    """Whether no further seed is needed: each rival is settled or, after `ALIKE` seeds, the `same` as the baseline."""
    return all(row.settled or (same(row) and row.n >= ALIKE) for row in found.of(found.primary))


def _said(row: Comparison, found: Comparisons, name: Callable[[str], str]) -> str:
    metric = found.metrics[row.metric]
    one, other = name(row.formulation), name(found.baseline)
    if row.lost:
        return f"{one} is not compared with {other}: {comparison.lost(row)}"
    if not row.n:
        return f"{one} is not compared yet with {other}"
    if same(row):
        rounding = "" if row.estimate == 0 else f" but for rounding ({comparison.difference(row)})"
        return f"{one} and {other} have the same {metric.label} in every seed{rounding}"
    by = f"by {metric.label}, {comparison.difference(row)}"
    if row.verdict == "undecided":
        return f"{one} against {other} {by}"
    small = row.verdict == "equivalent" and found.margin is not None
    return (
        f"{one} is {WORDS[row.verdict]} {other}{f' within {comparison.margin(found)}' if small else ''} {by}"
    )


def _advice(rows: Sequence[Comparison], seeds: int, command: Command, code: Callable[[str], str]) -> str:
    """What would probably decide those comparisons that are undecided."""
    if all(row.settled or same(row) for row in rows):
        return "that is one formulation under two names, which a --margin would find equivalent"
    left = [row for row in rows if not row.settled]
    options = verdict.without(command.argv, REPLACED)
    if seeds < 2:
        again = f"python -m {command.program} {shlex.join([*options, *_most(options, ALIKE)])}"
        return f"two seeds at least show how much a seed matters: {code(again)} trains more"
    unknown = any(row.seeds_needed is None for row in left)
    needed = max(row.seeds_needed or 0 for row in left)
    if too_many := out_of_reach(None if unknown else needed, seeds, verdict.which(len(left) + 1)):
        return f"{too_many}; {comparison.SOONER}"
    spent = None if command.seconds is None else command.seconds * (needed - seeds)
    more = ["--seeds", str(needed)]
    if spent is not None:
        more = ["--minutes", str(math.ceil(1.1 * spent / 60)), *_most(options, needed)]
    line = code(f"python -m {command.program} {shlex.join([*options, *more])}")
    price = "" if spent is None else f", {verdict.duration(spent)} more"
    return f"{line} would probably decide ({needed:,} seeds in all{price})"


def _most(options: Sequence[str], seeds: int) -> list[str]:
    """``--seeds`` of a command whose ``--config`` may have fewer, as that of a run folder has."""
    return ["--seeds", str(seeds)] if any(word.partition("=")[0] == "--config" for word in options) else []
