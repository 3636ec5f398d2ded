"""What the numbers say, in sentences: who leads, by how much, how sure that is, and what cannot be told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from analysis.ranking import notes
from analysis.ranking.blocks import seed_count
from analysis.ranking.confirm import Confirmation
from analysis.ranking.uncertainty import Known
from analysis.report.confirmed import confirmed
from analysis.report.wording import MANY, SURE, listed, name, sizes, written
from analysis.results import declared
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
    """``missing`` comes first: what the ranking lacks. ``lead`` says who is best, ``points`` tell of single metrics, and
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


def pairs(known: Known) -> dict[str, Pair]:
    """Best and second of every response that is modelled."""
    found = {}
    for response in known.responses:
        model = known.models.get(response.name)
        if model is not None and len(model.names) > 1:
            order = np.argsort(-model.means if response.higher_is_better else model.means, kind="stable")
            found[response.name] = Pair(model.names[order[0]], model.names[order[1]])
    return found


def verdict(
    ranking: pd.DataFrame,
    best: Mapping[str, Pair],
    confirmation: Confirmation | None = None,
    stopped: Stopped | None = None,
) -> Verdict:
    """The sentences about a ranking (`ranking.ranking.rank`); where fresh seeds were run, these come first. The ranking of
    a race is over the seeds that all have. Of several networks that have learned nothing the page's summary
    (`analysis.ranking.verdict`) says all that there is to say."""
    about: Mapping[str, Any] = dict(ranking.attrs)  # type: ignore[arg-type]
    if about["nothing_learned"] and len(ranking) > 1:
        return Verdict(tuple(missing(about["provisional"])), doubts=tuple(_doubts(ranking, about)))
    lead = _lead(ranking, about)
    if confirmation:
        lead = [*confirmed(confirmation), f"On the seeds that chose them, {lead[0]}", *lead[1:]]
    elif stopped == "race":
        lead = [f"On the seeds that all have, {lead[0]}", *lead[1:]]
    points = (
        _one_seed(ranking, about) if max(about["seed_counts"].values()) < 2 else _points(ranking, about, best)
    )
    return Verdict(
        tuple(missing(about["provisional"])),
        tuple(lead),
        tuple(points),
        (
            *([STOPPED] if stopped else []),
            *_doubts(ranking, about),
            *_of_order(ranking, about, stopped is not None or confirmation is not None),
        ),
    )


def missing(provisional: Mapping[str, Any] | None) -> list[str]:
    """What a run that is not finished lacks."""
    if not provisional:
        return []
    told = [f"Provisional: {provisional['done']} of {provisional['cells']} cells are done."]
    blocks = [f"seed {seed} on {dataset}" for dataset, seed in provisional["blocks"]]
    if blocks:
        told.append(
            f"The ranking leaves out {listed(blocks, named=False)}, which not all formulations have finished."
        )
    if provisional["formulations"]:
        several = len(provisional["formulations"]) > 1
        told.append(
            f"It leaves out {listed(provisional['formulations'])}, whose cells are still to come, as nobody may profit by "
            f"{'their' if several else 'its'} absence."
        )
    return told


def _lead(ranking: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    """Who leads, who cannot be told from that, and how firm the place is."""
    names, ranks = list(map(str, ranking["formulation"])), ranking["rank_all"].to_numpy(dtype=np.float64)
    if len(names) == 1:
        return [f"Only {name(names[0])} is here: there is nothing to compare it with."]
    level = [n for n, r in zip(names, ranks, strict=True) if r == ranks[0]]
    leads = (
        f"{listed(level)} {'leads' if len(level) == 1 else 'share the lead'} with mean front {ranks[0]:.2f}"
    )
    if max(about["seed_counts"].values()) < 2:
        return [f"{leads}, by one seed: whether another seed would keep that order cannot be told."]
    tied = ranking["rank_tied"]
    if tied.isna().all() and any(r["response"] == "rank" for r in about["resolution"]):
        return [f"{leads}, in every seed alike: there is no noise to judge that by.", *_place(ranking)]
    if tied.isna().all():
        why = about["unknown"].get("rank", "no two formulations have every entry of two seeds")
        return [f"{leads}. How sure that is cannot be told: {why}."]
    alike = [n for n, t in zip(names, tied.fillna(False), strict=True) if t]
    alike = [n for n in alike if n not in level]
    apart = int((~tied).fillna(False)[~ranking["formulation"].isin(level)].sum())
    who, seeds = "it" if len(level) == 1 else "them", seed_count(about["seed_counts"])
    return [leads + _company(alike, apart, who, seeds), *_place(ranking)]


def _company(alike: Sequence[str], apart: int, leaders: str, seeds: str) -> str:
    """The rest of a sentence: who is ``alike``, and how many others can be told ``apart`` from the ``leaders``."""
    if alike and not apart and len(alike) > MANY:
        return f"; none of the {len(alike)} others can be told from {leaders} at {seeds} ({SURE})."
    if alike:
        return f"; {listed(alike)} cannot be told from {leaders} at {seeds} ({SURE})."
    if apart:
        return f", and {seeds} tell {leaders} apart from {others(apart)} ({SURE})."
    return "."


def _place(ranking: pd.DataFrame) -> list[str]:
    """How firm the leader's place is."""
    if "first" not in ranking or not math.isfinite(ranking["position_high"].iloc[0]):
        return []
    low, high = (int(ranking[f"position_{end}"].iloc[0]) for end in ("low", "high"))
    first = 100 * float(ranking["first"].iloc[0])
    leader = name(str(ranking["formulation"].iloc[0]))
    place = f"its place is {low}" if low == high else f"its place is between {low} and {high}"
    return [
        f"Of the true orders that these seeds allow, {leader} comes first in {first:.0f} %; {place} (95 %)."
    ]


def _what(about: Mapping[str, Any], response: str) -> str:
    return "mean front" if response == "rank" else declared.among(about)[response].title


def _points(ranking: pd.DataFrame, about: Mapping[str, Any], best: Mapping[str, Pair]) -> list[str]:
    """For every response who is ahead, by how much, and whether the seeds suffice to tell."""
    leader = str(ranking["formulation"].iloc[0])
    by_name = ranking.set_index("formulation")
    return [
        _point(r, about, by_name, leader, best[r["response"]])
        for r in about["resolution"]
        if r["response"] in best
    ]


def _point(
    r: Mapping[str, Any], about: Mapping[str, Any], by_name: pd.DataFrame, leader: str, pair: Pair
) -> str:
    response, lead, gap = r["response"], float(r["lead"]), float(r["gap"])
    ahead, second = pair.best, pair.second
    column = "rank_all" if response == "rank" else response
    values = [float(by_name[column].loc[n]) for n in (ahead, second)]
    first, next_best = written(values, response)
    seeds = seed_count({"fewest": r["fewest"], "most": r["seeds"]})
    if lead <= 0:
        return f"In {_what(about, response)} {name(ahead)} and {name(second)} are level at {first}."
    by, least = sizes(r, lead, gap)
    told = f"In {_what(about, response)} {name(ahead)} leads by {by} ({first}, {name(second)} {next_best})"
    separated = _tied(by_name, second, response) is False
    if gap == 0:
        return f"{told}, in every seed alike."
    if lead >= gap:
        told += f", more than the {least} that {seeds} can separate"
        told += "." if separated else ", yet not enough for these two, which are noisier than most."
    elif notes.beyond_seeds(r):
        told += f", less than the {least} that {seeds} can separate: more samples, not more seeds, would be needed."
    else:
        needed = r["seeds_needed"]
        many = "more than 1,000" if needed is None else f"about {max(int(needed), r['seeds'] + 1):,}"
        told += f", less than the {least} that {seeds} can separate: {many} seeds would be needed."
    if leader not in (ahead, second) and (tied := _tied(by_name, leader, response)) is not None:
        told += (
            f" {name(leader)} {'cannot be told from the best' if tied else 'is worse than the best'} here."
        )
    return told


def _tied(by_name: pd.DataFrame, who: str, response: str) -> bool | None:
    """Whether a formulation cannot be told from the best; None if that is not known."""
    mark = by_name[f"{response}_tied"].loc[who]
    return None if pd.isna(mark) else bool(mark)


def _one_seed(ranking: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    """What the samples of single trainings tell: how sure these very models differ."""
    told = []
    for metric, better in (("clip", -1), ("fid", 1)):
        low, high = f"{metric}_behind_low", f"{metric}_behind_high"
        if low not in ranking or len(ranking) < 2:
            continue
        rest = ranking.iloc[1:]
        rest = rest[rest[low].notna()]
        ends = (rest[low] if better > 0 else -rest[high]) > 0
        if len(rest):
            told.append(
                f"In {_what(about, metric)} {int(ends.sum())} of {count(len(rest), 'other')} are behind "
                f"{name(str(ranking['formulation'].iloc[0]))} by more than another draw of captions and noise explains "
                f"(paired, 95 % each). That is about these trainings, not about the formulations."
            )
    return told


def _doubts(ranking: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    """What the numbers lack."""
    told = []
    lost = ranking[notes.lost(ranking)]
    if len(lost):
        counts = [f"{int(lost[s].sum())} {s}" for s in ("diverged", "failed", "missing") if lost[s].sum()]
        told.append(
            f"{listed(list(map(str, lost['formulation'])))} {'lacks' if len(lost) == 1 else 'lack'} entries "
            f"({', '.join(counts)}): what is lost ranks last in its setting, and means are over the rest."
        )
    if about["untrained"]:
        worse = list(dict.fromkeys(t["formulation"] for t in about["untrained"]))
        told.append(
            f"{listed(worse)} {'has' if len(worse) == 1 else 'have'} trainings whose validation loss is above that of an "
            f"untrained network: they are ranked as they are."
        )
    if len(about["objectives"]) == 1:
        told.append(
            f"There are values of {_what(about, about['objectives'][0])} only: the ranking is by it alone."
        )
    if about["seeds"] > 1 and about["without_interval"]:
        told.append(
            f"No interval for {listed(about['without_interval'])}: not every entry of every seed is there."
        )
    return told


def _of_order(ranking: pd.DataFrame, about: Mapping[str, Any], fresh: bool) -> list[str]:
    """How firm the order is, and, where no ``fresh`` seeds were run and results did not end the run, that its choice can be
    confirmed."""
    told = []
    if about["seeds"] > 1 and about["agreement"] is not None and len(ranking) > 2:
        told.append(
            f"The order as a whole agrees with the true orders that these seeds allow to a rank correlation of "
            f"{about['agreement']:.2f} on average (Kendall; 1 is the same order)."
        )
    tied = ranking["rank_tied"].fillna(False).astype(bool)
    if about["seeds"] > 1 and tied.sum() > 1 and not fresh and not about["provisional"]:
        told.append(
            f"Who leads among {len(ranking)} looks better than it is. The same command with --confirm 3 runs those that "
            f"cannot be told apart once more, on fresh seeds."
        )
    return told
