"""The answer of a run: whether its seeds decide which formulation is best and, if not, what probably would.

`answer` computes it from a ranking and its resolution, as numbers; `terminal` and `worded` are the writers.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.ranking import untrained_rows
from analysis.ranking.blocks import seed_count
from analysis.ranking.result import RANK, RankingResult
from analysis.ranking.smallest_gap import out_of_reach
from analysis.runs import timings
from analysis.runs.run import Run
from analysis.tables.wording import count, others, series

State = Literal["decided", "undecided", "one seed", "not trained"]
"""Whichever leads, a comparison of networks that are ``not trained`` is none."""
Cause = Literal["tied", "draw", "level", "no noise", "unknown", "incomplete"]
"""Why it is undecided: others are statistically tied with the leader; and even with any number of seeds would be, by the
fixed draw of captions and noise; all means are equal at the top; no seed differs from another, so that the noise of
seeds is unknown; that is unknown for another reason; or the leader lacks entries that a comparison needs."""

SEEDS_TO_BEGIN = 3
"""Seeds that are advised after a run of one, which cannot forecast anything."""
NAMED = 4
"""So many formulations are named; of more, the first `NAMED` - 1."""
REPLACED = ("--seeds", "--minutes", "--confirm", "--retry")
"""Options of a run that the advised command does not repeat; each takes one value."""


@dataclass(frozen=True)
class Forecast:
    """A run that would probably decide: ``seeds`` in all, the ``seconds`` that the new ones take, and the command's options;
    each None where the run folder lacks what it is computed from. ``program`` is the module that takes them."""

    seeds: int
    seconds: float | None
    options: tuple[str, ...] | None
    program: str = "bench.grid"


@dataclass(frozen=True)
class Answer:
    """``leaders`` share the smallest mean front; ``tied`` are those statistically tied with the best, leaders first, empty
    where that is not known. A dataset has ``fewest`` to ``seeds`` seeds.

    ``cause``: why it is undecided, and ``reason`` why the noise of seeds is unknown. ``forecast`` is None where it is
    decided, and where more seeds are not expected to decide. ``progress`` counts the finished cells and all cells of an
    unfinished run.
    """

    state: State
    leaders: tuple[str, ...]
    tied: tuple[str, ...]
    formulations: int
    seeds: int
    fewest: int
    cause: Cause | None = None
    reason: str | None = None
    forecast: Forecast | None = None
    progress: tuple[int, int] | None = None


def answer(ranking: RankingResult, run: Run | None = None) -> Answer | None:
    """The answer of a ranking; None for a single formulation, which has no rival.

    It is decided if the leader alone is in Hsu's set of those not separable from the best by mean front; where all seeds
    have the same fronts, which leaves no noise to judge by, if it is so by each metric of the fronts. With a ``run`` the
    forecast comes with its price and its command.
    """
    facts, names, ranks = ranking.facts, ranking.names, ranking.value(RANK)
    if len(names) < 2:
        return None
    leaders = tuple(name for name in names if ranks[name] == ranks.min())
    seeds, fewest, left = facts.most_seeds, facts.seeds, facts.provisional
    reason = facts.unknown.get("rank")
    progress = (left.done, left.cells) if left else None

    def made(state: State, tied: tuple[str, ...], cause: Cause | None, needed: int | None) -> Answer:
        advised = None if needed is None else forecast(needed, seeds, run, seeds > fewest)
        return Answer(state, leaders, tied, len(names), seeds, fewest, cause, reason, advised, progress)

    if facts.nothing_learned:
        return made("not trained", (), None, None)
    if seeds < 2:
        return made("one seed", (), None, SEEDS_TO_BEGIN)
    if reason is not None:
        return made("undecided", (), "unknown", max(SEEDS_TO_BEGIN, seeds) if fewest < 2 else None)
    found = next((r for r in facts.resolution if r.response == "rank"), None)
    if found is None:
        return made("undecided", (), "incomplete", None)
    if not found.sigma > 0:
        if _first_in_all(ranking, leaders[0]):
            return made("decided", leaders[:1], None, None)
        return made("undecided", (), "no noise", seeds + 1)
    alike = ranking.columns[RANK].not_separable
    together = tuple(name for name in names if alike[name])
    if leaders[0] not in together:
        return made("undecided", (), "incomplete", None)
    if together == leaders[:1]:
        return made("decided", together, None, None)
    if len(leaders) > 1 and set(together) <= set(leaders):
        return made("undecided", together, "level", None)
    needed = None if found.seeds_needed is None else max(found.seeds_needed, seeds + 1)
    return made("undecided", together, "draw" if found.beyond_seeds else "tied", needed)


def _first_in_all(ranking: RankingResult, leader: str) -> bool:
    """Whether a formulation alone is not separable from the best, in every metric that makes the fronts."""
    alone = ranking.counts.index == leader
    marks = [ranking.columns[metric].tied for metric in ranking.facts.objectives]
    return all(m is not None and m.notna().all() and (m.astype(bool) == alone).all() for m in marks)


def forecast(seeds: int, there: int, run: Run | None, unequal: bool = False, part: float = 1.0) -> Forecast:
    """A run of so many seeds where ``there`` are some; only a ``part`` of the formulations trains on. Without a price where
    datasets have ``unequal`` numbers of seeds."""
    each = None if run is None or unequal else timings.seconds_per_seed(run)
    seconds = None if each is None else part * each * (seeds - there)
    if run is None or not run.manifests:
        return Forecast(seeds, seconds, None)
    plan = run.manifests[0]
    options = (*without(plan.command, REPLACED), "--seeds", str(seeds))
    return Forecast(seeds, seconds, options, plan.program)


def without(options: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """The options of a command without some that have one value each."""
    kept, words = [], iter(options)
    for word in words:
        if word in left_out:
            next(words, None)
        elif word.partition("=")[0] not in left_out:
            kept.append(word)
    return kept


def terminal(found: Answer) -> str:
    """The answer in one line, with its state."""
    opening = {"one seed": "One seed cannot decide"}.get(found.state, found.state.capitalize())
    if found.progress:
        opening += f" so far ({found.progress[0]} of {count(found.progress[1], 'cell')})"
    named = found.cause in ("tied", "draw", "level")  # "between A and B"
    return f"{opening}{' ' if named else ': '}{worded(found, str, lambda text: f'`{text}`')}"


def worded(found: Answer, name: Callable[[str], str], code: Callable[[str], str]) -> str:
    """The answer as one sentence that follows its state; ``name`` and ``code`` set apart formulations and a command."""
    if found.state == "not trained":
        return untrained_rows.NOTHING
    if found.state == "decided":
        sure = f"({seed_count({'fewest': found.fewest, 'most': found.seeds})}, family-wise 95 %)"
        return f"{name(found.leaders[0])} is better than {others(found.formulations - 1)} {sure}."
    lead = f"{listed(found.leaders, name)} {'leads' if len(found.leaders) == 1 else 'share the lead'}"
    if found.state == "one seed":
        return f"{lead}; {advice(found.forecast, code)} would show how firm that is."
    if found.cause == "unknown":
        more = "" if found.forecast is None else f"; {advice(found.forecast, code)} would show that"
        return f"{lead}; the noise of seeds is unknown ({found.reason}){more}."
    if found.cause == "incomplete":
        return f"{lead}, but too few entries are complete in two seeds for a comparison."
    if found.cause == "no noise":
        more = f"{advice(found.forecast, code)} may show some"
        return f"{lead} in all seeds alike, which leaves no noise to judge that by; {more}."
    between = f"between {listed(found.tied, name)}"
    if len(found.tied) == found.formulations and len(found.tied) > NAMED:
        between = f"between all {found.formulations} formulations ({lead})"
    if found.cause == "draw":
        samples = code("--samples")
        why = "another draw of captions would move more than they differ by"
        return f"{between}: {why}; more {samples}, not more seeds, may decide."
    if found.cause == "level":
        return f"{between}: more seeds are not expected to decide, as they are level."
    needed = None if found.forecast is None else found.forecast.seeds
    if too_many := out_of_reach(needed, found.seeds, which(len(found.tied))):
        return f"{between}: {too_many} to decide."
    return f"{between}; {advice(found.forecast, code)} would probably decide."


def which(undecided: int) -> str:
    """The subject of a sentence about so many formulations that may each be the best."""
    return "they" if undecided == 2 else "some of them"


def advice(found: Forecast | None, code: Callable[[str], str]) -> str:
    """``\\`python -m bench.grid --seeds 12\\` (about 14 minutes more)``."""
    if found is None:
        return "more seeds"
    what = f"{found.seeds:,} seeds"
    if found.options is not None:
        what = code(f"python -m {found.program} {shlex.join(found.options)}")
    return what if found.seconds is None else f"{what} ({duration(found.seconds)} more)"


def duration(seconds: float) -> str:
    """``less than a minute``, ``about 14 minutes``, ``about 3.5 hours``, ``about 12 days``."""
    if seconds < 60:
        return "less than a minute"
    for unit, size, most in (("minute", 60.0, 90.0), ("hour", 3600.0, 48.0), ("day", 86400.0, math.inf)):
        value = seconds / size
        if round(value) <= most:
            number = f"{value:.0f}" if value >= 9.5 or unit == "minute" else f"{value:.1f}".removesuffix(".0")
            return f"about {number} {unit}{'' if number == '1' else 's'}"
    raise AssertionError("days have no limit")


def listed(names: Sequence[str], name: Callable[[str], str]) -> str:
    """``A``, ``A and B``, ``A, B and C``, or ``A, B, C and 4 others``."""
    shown = [name(n) for n in names]
    if len(shown) > NAMED:
        shown = [*shown[: NAMED - 1], f"{len(names) - NAMED + 1} others"]
    return series(shown)
