"""The race of a run (``python -m bench.grid --until decided``): which formulations are left, and which beat the others.

Everything is computed from the results by `analysis.comparisons.baseline`, with all seeds of the race; the plan adds
what decides it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.comparisons import baseline, comparison
from analysis.comparisons.baseline import Comparison, Race
from analysis.ranking import verdict
from analysis.ranking.smallest_gap import out_of_reach
from analysis.runs.run import Run
from analysis.tables.table import Table, unmarked
from analysis.tables.wording import count, others
from bench.metrics.metric import Metric
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True)
class Standing:
    """A formulation in a race, after so many ``seeds``: ``against`` the one that beat it if it is out, else against the
    leader; None of the leader itself, and where seeds have no value."""

    formulation: str
    seeds: int
    out: bool
    rival: str | None = None
    against: Comparison | None = None


@dataclass(frozen=True)
class Raced:
    """A ``race`` with its ``standings``, those that are left first; all formulations have ``common`` seeds. ``needed`` are
    the seeds in all that would probably decide it, None where it is decided or that is not known."""

    race: Race
    metric: Metric
    standings: tuple[Standing, ...]
    common: int
    needed: int | None
    forecast: verdict.Forecast | None

    @property
    def seeds(self) -> int:
        """Of the formulations that are left."""
        return max(s.seeds for s in self.standings)


def of_run(run: Run) -> Raced | None:
    """The race of a run; None if it was none, or if it has no values yet."""
    plan = next((m for m in run.manifests if m.race), None)
    if plan is None:
        return None
    decision = plan.race["decision"]
    try:
        found = baseline.survivors(run, decision["metric"], decision["margin"])
    except UserError:
        return None
    standings = tuple(_standing(run, name, found) for name in (*found.survivors, *_latest_first(found)))
    undecided = [s.against for s in standings if not s.out and s.against and s.against.verdict == "undecided"]
    needs = [c.seeds_needed for c in undecided]
    needed = max((n for n in needs if n is not None), default=None) if None not in needs else None
    needed = None if found.decided or needed is None else max(needed, standings[0].seeds + 1)
    left = len(found.survivors) / len(standings)
    advised = None if needed is None else verdict.forecast(needed, standings[0].seeds, run, part=left)
    common = int(run.phase("rank").frame["seed"].nunique())
    return Raced(found, run.metrics[found.metric], standings, common, needed, advised)


def _latest_first(found: Race) -> list[str]:
    return sorted(found.out, key=lambda name: -found.out[name].seeds)


def _standing(run: Run, name: str, found: Race) -> Standing:
    """Each pair has the level of the race, as if it were compared alone."""
    raced = run.phase("rank", "race")
    rows = raced.frame
    own = rows[(rows["formulation"] == name) & (rows["status"] != "pending")]
    beaten, seeds = found.out.get(name), int(own["seed"].nunique())
    rival = beaten.by if beaten else found.survivors[0]
    if rival is None or rival == name or name in found.lost:
        return Standing(name, seeds, beaten is not None)
    rivals = max(1, rows["formulation"].nunique() - 1)
    pair, level = raced.formulations(name, rival), found.level / rivals
    compared = baseline.against(pair, rival, (), found.metric, found.margin, level)
    return Standing(name, seeds, beaten is not None, rival, compared.rows[0])


def table(found: Raced) -> Table:
    """A row for each formulation."""
    label = found.metric.label
    cells = pd.DataFrame(
        [
            {
                "formulation": s.formulation,
                "standing": _said(s, found),
                f"difference in {label}": comparison.difference(s.against) if s.against else "",
                "e-value": comparison.evidence(s.against.e_value) if s.against else "",
                "seeds": str(s.seeds),
            }
            for s in found.standings
        ]
    )
    frame = pd.DataFrame([_record(s) for s in found.standings])
    notes = [
        f"difference: to the formulation that beat it or, of one that is left, to {found.race.survivors[0]}, paired by "
        f"seed, with an interval that holds at all looks; {label}: {found.metric.direction}",
        f"the ranking of all formulations is over the {count(found.common, 'seed')} that all have",
        f"the truly best formulation is left at all looks with a probability of {100 * (1 - found.race.level):g} % or more",
    ]
    return unmarked("race", frame, cells, notes=notes, optional=("e-value",), title="The race")


def _record(s: Standing) -> dict[str, Any]:
    about = {"formulation": s.formulation, "seeds": s.seeds, "out": s.out, "rival": s.rival}
    numbers = ("estimate", "low", "high", "e_value", "n")
    return about | {name: getattr(s.against, name) if s.against else None for name in numbers}


def _said(s: Standing, found: Raced) -> str:
    if s.out:
        return f"beaten by {s.rival}" if s.rival else "out: seeds without a value"
    if s.against is None:
        return "left" if len(found.race.survivors) > 1 else "best"
    return "left, equivalent" if s.against.verdict == "equivalent" else "left"


def terminal(found: Raced) -> str:
    """The answer in one line, with its state."""
    opening = "Decided: " if found.race.decided else "Undecided "
    return opening + worded(found, str, lambda text: f"`{text}`")


def worded(found: Raced, name: Callable[[str], str], code: Callable[[str], str]) -> str:
    """The answer as one sentence that follows its state; ``name`` and ``code`` set apart formulations and a command."""
    race, label, left = found.race, found.metric.label, found.race.survivors
    sure = f"({100 * (1 - race.level):g} % at every look, {count(found.seeds, 'seed')})"
    if race.decided and len(left) == 1:
        beaten, lost = len(race.out), [n for n, b in race.out.items() if b.by is None]
        aside = f" or {'has' if beaten == 1 else 'have'} seeds without a value" if lost else ""
        are = "is" if beaten == 1 else "are"
        return f"{name(left[0])} is the best by {label}; {others(beaten)} {are} beaten{aside} {sure}."
    listed = verdict.listed(left, name)
    beaten = sum(exit.by is not None for exit in race.out.values())
    rest = f"; {count(beaten, 'formulation')} beaten" if beaten else ""
    if valueless := len(race.out) - beaten:
        rest += f"; {count(valueless, 'formulation')} out with seeds without a value"
    if race.decided:
        margin = (
            ""
            if race.margin is None
            else f" within ±{race.margin:g}{' %' if found.metric.scale == 'log' else ''}"
        )
        return f"{listed} are equivalent by {label}{margin} {sure}{rest}."
    open_race = f"between {listed} by {label} {sure}{rest}"
    if race.settled:
        return f"{open_race}: each has seeds without a value, so that none can be compared."
    if found.seeds < 2:
        return f"{open_race}; two seeds at least show how much a seed matters."
    if too_many := out_of_reach(found.needed, found.seeds, "some that are left"):
        return f"{open_race}; {too_many}; {comparison.SOONER}."
    return f"{open_race}; {verdict.advice(found.forecast, code)} would probably decide."
