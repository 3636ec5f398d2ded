"""The verdict on a ranking, in sentences: which formulation leads, by how much, how sure that is, and what is unknown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from analysis.ranking.blocks import seed_count
from analysis.ranking.confirmation import Confirmation
from analysis.ranking.pending import Provisional
from analysis.ranking.result import RANK, STATES, Estimate, Facts, RankingResult
from analysis.ranking.smallest_gap import Resolution, out_of_reach
from analysis.report.confirmed import confirmed
from analysis.report.phrases import MANY, SURE, listed, name, sizes, written
from analysis.report.references import against_references
from analysis.tables.wording import count, others
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


Stopped = Literal["race", "comparison"]
"""What ended a run by its results."""
STOPPED = (
    "How many seeds there are depended on what they showed. The verdict at the top allows for that; the intervals and marks "
    "of the ranking are those of a number that was planned."
)


@dataclass(frozen=True)
class Verdict:
    """``missing`` comes first: what the ranking lacks. ``lead`` is about the best, ``points`` are about single metrics, and
    ``doubts`` are what to know before using the numbers."""

    missing: tuple[str, ...] = ()
    lead: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """The formulation that is best in a response, and the one that comes second, of those with every entry."""

    best: str
    second: str


def pairs(ranking: RankingResult) -> dict[str, Pair]:
    """Best and second of every response that is modelled."""
    found = {}
    for response, model in ranking.models.items():
        if len(model.names) > 1:
            metric = ranking.facts.metric(response)
            rising = metric is not None and bool(metric.higher_is_better)
            order = np.argsort(-model.means if rising else model.means, kind="stable")
            found[response] = Pair(model.names[order[0]], model.names[order[1]])
    return found


def verdict(
    ranking: RankingResult,
    best: Mapping[str, Pair],
    confirmation: Confirmation | None = None,
    stopped: Stopped | None = None,
) -> Verdict:
    """The sentences about a ranking (`ranking.ranking.rank`); where fresh seeds were run, these come first. The ranking of
    a race is over the seeds that all have. Of several networks that have learned nothing the page's summary
    (`analysis.ranking.verdict`) is all that can be stated."""
    facts = ranking.facts
    if facts.nothing_learned and len(ranking.names) > 1:
        return Verdict(tuple(missing(facts.provisional)), doubts=tuple(_doubts(ranking)))
    lead = _lead(ranking)
    if confirmation:
        lead = [*confirmed(confirmation), f"On the seeds that chose them, {lead[0]}", *lead[1:]]
    elif stopped == "race":
        lead = [f"On the seeds that all have, {lead[0]}", *lead[1:]]
    points = _one_seed(ranking) if facts.most_seeds < 2 else _points(ranking, best)
    doubts = [
        *([STOPPED] if stopped else []),
        *_doubts(ranking),
        *against_references(ranking),
        *_of_order(ranking, not (stopped or confirmation)),
    ]
    return Verdict(tuple(missing(facts.provisional)), tuple(lead), tuple(points), tuple(doubts))


def missing(provisional: Provisional | None) -> Iterator[str]:
    """What a run that is not finished lacks."""
    if not provisional:
        return
    yield f"Provisional: {provisional.done} of {provisional.cells} cells are done."
    blocks = [f"seed {seed} on {dataset}" for dataset, seed in provisional.blocks]
    if blocks:
        yield (
            f"The ranking leaves out {listed(blocks, named=False)}, which not all formulations have finished."
        )
    if provisional.formulations:
        several = len(provisional.formulations) > 1
        yield (
            f"It leaves out {listed(provisional.formulations)}, whose cells are still to come, so that none profits from "
            f"{'their' if several else 'its'} absence."
        )


def _lead(ranking: RankingResult) -> list[str]:
    """Which formulation leads, which are not separable from it, and how firm the place is."""
    facts, names, ranks = ranking.facts, ranking.names, ranking.value(RANK).to_numpy(dtype=np.float64)
    if len(names) == 1:
        return [f"Only {name(names[0])} is here: there is nothing to compare it with."]
    level = _leaders(ranking)
    leads = (
        f"{listed(level)} {'leads' if len(level) == 1 else 'share the lead'} with mean front {ranks[0]:.2f}"
    )
    if facts.most_seeds < 2:
        return [f"{leads}, by one seed: whether another seed would keep that order is unknown."]
    tied = ranking.tied
    if tied.isna().all() and any(r.response == "rank" for r in facts.resolution):
        return [f"{leads}, in every seed alike: there is no noise to judge that by.", *_place(ranking)]
    if tied.isna().all():
        why = facts.unknown.get("rank", "no two formulations have every entry of two seeds")
        return [f"{leads}. How sure that is remains unknown: {why}."]
    known = ranking.columns[RANK].not_separable
    alike = [n for n in names if known[n] and n not in level]
    apart = int((~tied).fillna(False)[~tied.index.isin(level)].sum())
    leaders, seeds = "it" if len(level) == 1 else "them", seed_count(facts.seed_counts)
    return [leads + _company(alike, apart, leaders, seeds), *_place(ranking)]


def _leaders(ranking: RankingResult) -> list[str]:
    """Those that share the smallest mean front."""
    ranks = ranking.value(RANK)
    return [name for name in ranking.names if ranks[name] == ranks.iloc[0]]


def _company(alike: Sequence[str], apart: int, leaders: str, seeds: str) -> str:
    """The rest of a sentence: which are ``alike``, and how many others are separated from the ``leaders``."""
    if alike and not apart and len(alike) > MANY:
        return f"; none of the {len(alike)} others can be separated from {leaders} at {seeds} ({SURE})."
    if alike:
        return f"; {listed(alike)} cannot be separated from {leaders} at {seeds} ({SURE})."
    if apart:
        return f", and {seeds} separate {leaders} from {others(apart)} ({SURE})."
    return "."


def _place(ranking: RankingResult) -> list[str]:
    """How firm the leader's place is."""
    ends = ranking.columns["position"].low, ranking.columns["position"].high
    if "first" not in ranking.columns or ends[0] is None or ends[1] is None:
        return []
    if not math.isfinite(ends[1].iloc[0]):
        return []
    low, high = (int(end.iloc[0]) for end in ends if end is not None)
    first = 100 * float(ranking.value("first").iloc[0])
    leader = name(ranking.names[0])
    place = f"its place is {low}" if low == high else f"its place is between {low} and {high}"
    said = f"Of the true orders that these seeds allow, {leader} comes first in {first:.0f} %; {place} (95 %)"
    if high == 1 and ranking.columns[RANK].not_separable.sum() > 1:
        said += ", if their noise is as measured; Hsu's comparison allows for more, and leaves it undecided"
    return [f"{said}."]


def _what(facts: Facts, response: str) -> str:
    metric = facts.metric(response)
    return metric.title if metric else "mean front"


def _points(ranking: RankingResult, best: Mapping[str, Pair]) -> Iterator[str]:
    """For every response which formulation is ahead, by how much, and whether the seeds suffice to separate it."""
    return (_point(r, ranking, best[r.response]) for r in ranking.facts.resolution if r.response in best)


def _point(r: Resolution, ranking: RankingResult, pair: Pair) -> str:
    what, lead, gap, leader = _what(ranking.facts, r.response), r.lead, r.gap, ranking.names[0]
    ahead, second = pair.best, pair.second
    column = ranking.columns[RANK if r.response == "rank" else r.response]
    first, next_best = written([float(column.value[n]) for n in (ahead, second)], r.response)
    seeds = seed_count({"fewest": r.fewest, "most": r.seeds})
    if lead <= 0:
        return f"In {what} {name(ahead)} and {name(second)} are level at {first}."
    by, least = sizes(r.log, lead, gap)
    sentence = f"In {what} {name(ahead)} leads by {by} ({first}, {name(second)} {next_best})"
    separated = _tied(column, second) is False
    if gap == 0:
        return f"{sentence}, in every seed alike."
    if lead >= gap:
        sentence += f", more than the {least} that {seeds} can separate"
        sentence += "." if separated else ", yet not enough for these two, which are noisier than most."
    elif r.beyond_seeds:
        sentence += f", less than the {least} that {seeds} can separate: more samples, not more seeds, would be needed."
    else:
        needed = None if r.seeds_needed is None else max(r.seeds_needed, r.seeds + 1)
        would = out_of_reach(needed, r.seeds, "the two") or f"about {needed:,} seeds would be needed"
        sentence += f", less than the {least} that {seeds} can separate: {would}."
    if leader not in (ahead, second) and (tied := _tied(column, leader)) is not None:
        sentence += f" {name(leader)} {'cannot be separated from the best' if tied else 'is worse than the best'} here."
    return sentence


def _tied(of: Estimate, formulation: str) -> bool | None:
    """Whether a formulation is not separable from the best; None if that is not known."""
    mark = pd.NA if of.tied is None else of.tied[formulation]
    return None if pd.isna(mark) else bool(mark)


def _one_seed(ranking: RankingResult) -> Iterator[str]:
    """How sure these very models differ, by the samples of single trainings."""
    for metric, better in (("clip", -1), ("fid", 1)):
        behind = ranking.columns[metric].behind
        if behind is None:
            continue
        rest = (behind.low if better > 0 else -behind.high).iloc[1:].dropna()
        if len(rest):
            yield (
                f"In {_what(ranking.facts, metric)} {int((rest > 0).sum())} of {count(len(rest), 'other')} are behind "
                f"{name(ranking.names[0])} by more than another draw of captions and noise explains "
                f"(paired, 95 % each). That is about these trainings, not about the formulations."
            )


def _doubts(ranking: RankingResult) -> Iterator[str]:
    """What the numbers lack."""
    facts = ranking.facts
    lost = ranking.counts[ranking.lost]
    if len(lost):
        counts = [f"{int(lost[s].sum())} {s}" for s in STATES if lost[s].sum()]
        yield (
            f"{listed(list(lost.index))} {'lacks' if len(lost) == 1 else 'lack'} entries "
            f"({', '.join(counts)}): what is lost ranks last in its setting, and means are over the rest."
        )
    if facts.untrained:
        worse = list(dict.fromkeys(t.formulation for t in facts.untrained))
        yield (
            f"{listed(worse)} {'has' if len(worse) == 1 else 'have'} trainings whose validation loss is above that of an "
            f"untrained network: they are ranked as they are."
        )
    if len(facts.objectives) == 1:
        yield (f"There are values of {_what(facts, facts.objectives[0])} only: the ranking is by it alone.")
    if facts.seeds > 1 and facts.without_interval:
        yield (f"No interval for {listed(facts.without_interval)}: not every entry of every seed is there.")


def _of_order(ranking: RankingResult, open_: bool) -> Iterator[str]:
    """How firm the order is, and that its choice can be confirmed, where that is still ``open_``."""
    facts = ranking.facts
    if facts.seeds > 1 and facts.agreement is not None and len(ranking.names) > 2:
        yield (
            f"The order as a whole agrees with the true orders that these seeds allow to a rank correlation of "
            f"{facts.agreement:.2f} on average (Kendall; 1 is the same order)."
        )
    tied = ranking.columns[RANK].not_separable
    late = [n for i, n in enumerate(ranking.names) if tied[n] and not tied[list(ranking.names[:i])].all()]
    if late:
        yield (
            f"{listed(late)} cannot be separated from the best although formulations that rank better can: "
            f"{'its' if len(late) == 1 else 'their'} results differ more from seed to seed."
        )
    leaders = len(_leaders(ranking))
    chosen = leaders < len(ranking.names)  # of all that are level none was chosen for its luck
    if facts.seeds > 1 and tied.sum() > 1 and chosen and open_ and not facts.provisional:
        looks = (
            "The leader of {} looks better than it is"
            if leaders == 1
            else "The leaders of {} look better than they are"
        )
        yield (
            f"{looks.format(count(len(ranking.names), 'formulation'))}. The same command with {name('--confirm 3')} trains "
            f"those that cannot be separated from the best again, on fresh seeds."
        )
