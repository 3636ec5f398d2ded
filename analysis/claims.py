"""``python -m analysis.claims RUN ...``: which of the study's claims the replication holds or refutes, by results/RULES.md.

Claims 1 to 3 are judged on every data set of a run of one size; claim 4 on every run of several sizes. Pairs are
compared by FID with intervals that hold at all looks (`analysis.comparisons.baseline`), at 5 % for all pairs of a
claim together. Differences of claim 4 have the intervals of `analysis.scaling`, for the seeds that there are, 95 % each.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.comparisons import baseline
from analysis.comparisons.paired import measured
from analysis.runs import options, run
from analysis.runs.run import Run
from analysis.runs.schema import Results
from analysis.scaling.noise import interval
from analysis.scaling.scaling_runs import is_scaling
from analysis.scaling.scaling_tables import report
from analysis.stats import sequential
from analysis.tables import output
from analysis.tables import table as tables
from flowbench._core.command import entry
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

BEST, STRAIGHT, MODE, BEFORE = "rf/lognorm(0.00,1.00)", "rf", "rf/mode(1.29)", "eps/linear"
OTHERS = ("v/cos", "edm(-1.20,1.20)")
"""Neither rectified flow nor the formulation that the study's second claim is about."""
CLAIMS = {
    1: f"{BEST} is the best formulation",
    2: f"only rectified flow with modified timesteps beats {BEFORE}",
    3: "rectified flow loses least in few steps",
    4: "loss falls smoothly with compute, and predicts quality",
}
INTERVALS = {
    frozenset({1, 2, 3}): "intervals of claims 1 to 3 hold at all looks, 95 % for a claim's pairs together",
    frozenset({4}): "intervals of claim 4 are for the seeds that there are, 95 % each (parametric bootstrap)",
}
"""What is said of the intervals of claims."""
PRIMARY, FEW, MANY, RESIDUAL = "fid", (5, 5.0), (50, 5.0), 0.03
"""The metric that decides; (steps, guidance) of the two settings of claim 3; the largest log residual of claim 4."""
Verdict = Literal["held", "refuted", "undecided"]
Overall = Literal["held", "refuted", "mixed", "undecided"]
OVERALL = "all"
"""Heading of a claim's verdict over several runs."""


@dataclass(frozen=True)
class Evidence:
    """A difference in percent with its interval, over ``seeds``; ``of`` names what is compared, in words."""

    of: str
    seeds: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Judged:
    """A claim on one run, with what the verdict rests on."""

    claim: int
    run: str
    verdict: Verdict
    evidence: tuple[Evidence, ...]


def judge(found: Run, title: str | None = None) -> list[Judged]:
    """The claims that a run can say something about, in order, under its ``title``, by default its name. Raises
    `UserError` for a run that lacks what they need."""
    title = title or found.name
    if is_scaling(found):
        return [_smooth(found, title)]
    results = found.phase("rank")
    names = set(results.frame["formulation"])
    if lacking := [name for name in (BEST, STRAIGHT, MODE, BEFORE, *OTHERS) if name not in names]:
        raise UserError(
            f"{str(found.path)!r} lacks {', '.join(lacking)}: the claims are about the six headline formulations"
        )
    kept = results.formulations(BEST, STRAIGHT, MODE, BEFORE, *OTHERS)
    datasets = sorted(kept.frame["dataset"].unique())
    judged = []
    for dataset in datasets:
        rows, name = kept.only(kept.frame["dataset"] == dataset), title
        if len(datasets) > 1:
            name += f", {dataset}"
        if (rows.frame[PRIMARY] <= 0).any():
            raise UserError(
                f"{name!r} has an FID that is not positive: the claims are about log ratios of FID"
            )
        judged += [_best(rows, name), _modified(rows, name), _few_steps(rows, name)]
    return judged


def overall(verdicts: Sequence[Verdict]) -> Overall:
    """Of a claim on several runs: held on two at least and refuted on none, refuted likewise, mixed if both occur; of a
    single run its own verdict."""
    held, refuted = verdicts.count("held"), verdicts.count("refuted")
    if held and refuted:
        return "mixed"
    enough = min(2, len(verdicts))
    return "held" if held >= enough else "refuted" if refuted >= enough else "undecided"


def _best(results: Results, name: str) -> Judged:
    verdicts, evidence = _compared(results, BEST)
    held = all(verdicts[rival] == "worse" for rival in (STRAIGHT, BEFORE, *OTHERS))
    beaten = "better" in verdicts.values()
    return Judged(1, name, "refuted" if beaten else "held" if held else "undecided", evidence)


def _modified(results: Results, name: str) -> Judged:
    verdicts, evidence = _compared(results, BEFORE)
    better = {rival for rival, verdict in verdicts.items() if verdict == "better"}
    refuted = better & {STRAIGHT, *OTHERS}
    return Judged(2, name, "refuted" if refuted else "held" if better else "undecided", evidence)


def _compared(results: Results, than: str) -> tuple[dict[str, baseline.Verdict], tuple[Evidence, ...]]:
    """The verdict on each other formulation against one, and what these rest on."""
    rows = baseline.against(results, than, metrics=(), primary=PRIMARY).rows
    evidence = (
        Evidence(f"FID of {row.formulation} against {than}", row.n, row.estimate, row.low, row.high)
        for row in rows
    )
    return {row.formulation: row.verdict for row in rows}, tuple(evidence)


def _few_steps(results: Results, name: str) -> Judged:
    """By ``log FID(few) - log FID(many)``, that of a rival minus that of rectified flow."""
    few, many = (measured(rows, PRIMARY) for rows in _in_both(results, name))
    rivals, evidence, decisions = (BEFORE, *OTHERS), [], []
    for rival in rivals:
        lost = {state for m in (few, many) for one in (rival, STRAIGHT) for state in m.lost(one)}
        apart = [] if lost else list(few.differences(rival, STRAIGHT) - many.differences(rival, STRAIGHT))
        found = sequential.interval(apart, sequential.LEVEL / len(rivals))
        of = f"FID at {FEW[0]} over {MANY[0]} steps, {rival} against {STRAIGHT}"
        ends = map(baseline.percent, (found.estimate, found.low, found.high))
        evidence.append(Evidence(of, len(apart), *ends))
        decisions.append(sequential.verdict(apart, None, sequential.LEVEL / len(rivals)))
    held = all(decision == "higher" for decision in decisions)
    return Judged(
        3, name, "refuted" if "lower" in decisions else "held" if held else "undecided", tuple(evidence)
    )


def _in_both(results: Results, name: str) -> Iterator[Results]:
    """The rows of few and of many steps, of the trainings that have both."""
    few, many = (_at(results, *setting, name) for setting in (FEW, MANY))
    key = ["formulation", "weights", "seed"]
    for rows, other in ((few, many), (many, few)):
        keys = (pd.MultiIndex.from_frame(found.frame[key]) for found in (rows, other))
        yield rows.only(next(keys).isin(next(keys)))


def _at(results: Results, steps: int, cfg: float, name: str) -> Results:
    """The rows of one sampler setting of the study."""
    frame = results.frame
    usual = (frame["solver"] == "euler") & (frame["grid"] == "native")
    usual &= (frame["drop"] == "none") & (frame["guide"] == "all")
    rows = results.only(usual & (frame["steps"] == steps) & (frame["cfg"] == cfg))
    if rows.frame.empty:
        raise UserError(f"{name!r} has no setting {steps}:{cfg:g}, which claim 3 is about")
    return rows


def _smooth(found: Run, title: str) -> Judged:
    """By log losses over runs of several depths and budgets; intervals are those of `analysis.scaling`."""
    made = report(found)
    loss, table = made.means["val_loss"], made.table
    seeds = int(np.min(loss.seeds))

    def apart(one: int, other: int, what: str) -> Evidence:
        value = float(loss.values[one] - loss.values[other])
        ends = (-math.inf, math.inf)
        if loss.draws is not None:
            ends = interval(loss.draws[:, one] - loss.draws[:, other])
        return Evidence(what, seeds, *map(baseline.percent, (value, *ends)))

    by_steps = [list(rows.sort_values("steps").index) for _, rows in table.groupby("depth")]
    last = [
        apart(
            runs[-1],
            runs[-2],
            f"loss at depth {table['depth'][runs[0]]}, the last budget against the one before",
        )
        for runs in by_steps
        if len(runs) > 1
    ]
    largest = table[table["steps"] == table["steps"].max()]
    deepest, lowest = int(largest["depth"].idxmax()), int(largest["val_loss"].idxmin())
    front = list(table[table["frontier"]].sort_values("train_flops").index)
    deep = apart(deepest, lowest, "loss at the largest budget, the deepest against the best")
    step = "loss on the compute frontier, its last run against the one before"
    ends = [apart(one, before, step) for before, one in pairwise(front)][-1:]
    error = math.inf if made.frontier.law is None else float(made.frontier.law.error)
    related = made.correlations[made.correlations["metric"] == PRIMARY]
    predicts = bool(len(related)) and float(related["spearman_low"].iloc[0]) > 0
    falls = bool(ends) and all(e.high < 0 for e in last)
    verdict: Verdict = "undecided"
    if any(e.low > 0 for e in last) or any(e.high >= 0 for e in ends):
        verdict = "refuted"
    elif falls and error <= RESIDUAL and (deepest == lowest or deep.low <= 0) and predicts:
        verdict = "held"
    return Judged(4, title, verdict, (*last, deep, *ends))


def table(judged: Sequence[Judged]) -> tables.Table:
    """A row for each claim with a column for each run, and its verdict over its runs if they are several."""
    rows: list[tuple[str, str, Overall]] = []
    for claim in sorted({j.claim for j in judged}):
        own = [j for j in judged if j.claim == claim]
        rows += [(f"{claim}. {CLAIMS[claim]}", j.run, j.verdict) for j in own]
        if len(own) > 1:
            rows.append((f"{claim}. {CLAIMS[claim]}", OVERALL, overall([j.verdict for j in own])))
    frame = pd.DataFrame(rows, columns=["claim", "run", "verdict"])
    runs = sorted(frame["run"].unique(), key=lambda name: name == OVERALL)
    cells = frame.pivot(index="claim", columns="run", values="verdict")[runs].fillna("").reset_index()
    notes = ["held, refuted, mixed, undecided: results/RULES.md"]
    notes += [note for claims, note in INTERVALS.items() if claims & {j.claim for j in judged}]
    return tables.unmarked(
        "claims", frame, cells.rename_axis(None, axis=1), notes=notes, title="The study's claims"
    )


def evidence(judged: Sequence[Judged]) -> tables.Table:
    """What the verdicts rest on, a row for each comparison."""
    frame = pd.DataFrame(
        [{"claim": j.claim, "run": j.run, **vars(e)} for j in judged for e in j.evidence],
        columns=["claim", "run", "of", "estimate", "low", "high", "seeds"],
    )
    columns: dict[str, tuple[str, Callable[[Any], str]]] = {
        "claim": ("claim", str),
        "run": ("run", str),
        "of": ("difference", str),
        "estimate": ("%", tables.fixed(1)),
        "low": ("from", tables.fixed(1)),
        "high": ("to", tables.fixed(1)),
        "seeds": ("seeds", str),
    }
    return tables.simple("claims_evidence", frame, columns, (), "What the verdicts rest on")


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser(
        "claims", "Judge the study's claims by the rules of the replication (results/RULES.md)."
    )
    made.add_argument(
        "results", nargs="+", type=Path, metavar="RUN", help="run folders or archives of studies"
    )
    made.add_argument(
        "--verdicts", action="store_true", help="without the differences that the verdicts rest on"
    )
    output.add_format(made)
    args = made.parse(argv)
    judged = [j for path, title in run.titles(args.results).items() for j in judge(run.read(path), title)]
    output.show([table(judged)] if args.verdicts else [table(judged), evidence(judged)], args.format)
    return 0


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
