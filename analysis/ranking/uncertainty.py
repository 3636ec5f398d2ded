"""How sure a ranking is: for each formulation intervals, whether it is separable from the best, and where its position
may lie.

Four responses are modelled (`analysis.stats.two_way`): the mean front index, CLIP, FID and validation loss of a
dataset and seed, the last two relative to the formulation's level. What is modelled is what is printed: the same
trainings, settings and weights. Where a Frechet distance is not positive (an unbiased estimate can be), FID itself is
modelled. A formulation that lacks one of these values has no intervals for that response; the others are compared
without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.fixed_draw import FixedDraw
from analysis.ranking.result import RANK, Ends, Estimate
from analysis.ranking.score_matrix import Wide
from analysis.ranking.smallest_gap import Resolution, Response, resolution
from analysis.runs import declared
from analysis.runs.schema import CONTROL
from analysis.stats import best, wins
from analysis.stats import two_way as stats
from analysis.stats.position_bootstrap import DRAWS, Stability, stability
from analysis.stats.two_way import TwoWay
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


def responses(table: Wide) -> tuple[Response, ...]:
    """The rank, and the metrics of `results.declared.COMPARED` that have a column; without the logarithm where a table has
    values that have none."""
    rank = Response("rank", log=False, higher_is_better=False)
    return (rank, *(_response(table, m) for m in declared.COMPARED if m in table.values))


def _response(table: Wide, metric: str) -> Response:
    log = table.metrics[metric].scale == "log" and not (table.values[metric] <= 0).any()
    return Response(metric, log, bool(table.metrics[metric].higher_is_better))


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What the seeds of a table show. ``left_out`` formulations lack an interval of some response; ``unknown``: why a
    response has no model (`analysis.ranking.blocks.Blocks.unknown`)."""

    responses: tuple[Response, ...]
    models: dict[str, TwoWay]
    resolutions: tuple[Resolution, ...]
    stability: Stability | None
    left_out: tuple[str, ...]
    unknown: dict[str, str]


def of(table: Wide, draws: int = DRAWS, *, fixed: FixedDraw | None = None) -> Uncertainty:
    """Model every response of a table; ``draws`` of the bootstrap of its ranking, and the one draw of captions and noise
    that is ``fixed`` for its seeds, if the values of its samples are there."""
    models, resolutions, left, unknown = {}, [], set[str](), {}
    for response in responses(table):
        every = table.blocks(response.name)
        blocks = every.complete()
        if every.unknown is not None or blocks.table.empty:
            unknown[response.name] = every.unknown or "no formulation has every entry"
            continue
        left |= set(every.table.index) - set(blocks.table.index)
        modelled = blocks.relative() if response.log else blocks
        models[response.name] = model = stats.fit(
            modelled.table.to_numpy(), list(blocks.table.index), blocks.seeds, blocks.datasets, blocks.weights
        )
        if len(blocks.table) > 1:
            resolutions.append(resolution(model, response, blocks.counts, fixed))
    firm = None if "rank" in unknown else _stability(table, draws)
    return Uncertainty(responses(table), models, tuple(resolutions), firm, tuple(sorted(left)), unknown)


def _stability(table: Wide, draws: int) -> Stability | None:
    """How firm the whole ranking is, over the settings that count; None unless two formulations have every entry.

    Noise of FID is drawn in logarithms, unless the table has a FID that is not positive; fronts are the same either way.
    """
    counted = ~np.isnan(table.fronts).any(axis=1)
    lost = np.any([np.isnan(table.values[m][counted]).any(axis=0) for m in table.objectives], axis=0)
    if (~lost).sum() < 2:
        return None
    points = np.stack([_additive(table, m) for m in table.objectives], axis=-1)  # [N, F, K]
    settings = table.settings[counted].assign(row=np.flatnonzero(counted))
    parts = []
    for _, rows in settings.groupby("dataset", observed=True):
        grid = rows.pivot_table(index=[c for c in CONTROL if c != "dataset"], columns="seed", values="row")
        parts.append(np.moveaxis(points[grid.to_numpy(dtype=np.int64)], 2, 0))  # [F, C, S, K]
    maximise = [bool(table.metrics[m].higher_is_better) for m in table.objectives]
    return stability(parts, list(table.names), maximise, table.means("rank"), draws=draws)


def _additive(table: Wide, metric: str) -> NDArray[np.float64]:
    """A metric on the scale on which its noise is about the same everywhere."""
    values = table.values[metric]
    return np.asarray(np.log(values)) if _response(table, metric).log else values


def estimates(found: Uncertainty, table: Wide, columns: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The columns of a ranking with their intervals and marks, and those that only the seeds show: ``front_one``,
    ``first``, ``wins``."""
    made = dict(columns)
    for response in found.responses:
        made[response.column] = _estimate(made[response.column], response, found.models.get(response.name))
    index = columns[RANK].value.index

    def by_name(values: NDArray[np.float64] | NDArray[np.int64]) -> pd.Series[float]:
        assert found.stability
        return pd.Series(values, index=list(found.stability.names), dtype="float64").reindex(index)

    nothing = pd.Series(np.nan, index=index)
    if found.stability is None:
        made["position"] = replace(made["position"], low=nothing, high=nothing)
    else:
        low, high = by_name(found.stability.low), by_name(found.stability.high)
        made["position"] = replace(made["position"], low=low, high=high)
        made["front_one"] = Estimate(by_name(found.stability.front_one))
        made["first"] = Estimate(by_name(found.stability.first))
    return made | ({"wins": _wins(table, index)} if found.models else {})


def _estimate(of: Estimate, response: Response, model: TwoWay | None) -> Estimate:
    """A column with its intervals and marks.

    The interval of a mean over seeds lies around the mean that is shown; of a logarithm it is a factor on it. ``behind`` is
    the paired difference from the leader, in the metric's own unit.
    """
    center, tied = of.value, pd.Series(pd.NA, index=of.value.index, dtype="boolean")
    if model is None:
        return replace(of, tied=tied)
    names, leader = list(model.names), str(center.index[0])
    low = high = behind = None
    if len(names) > 1 and model.variance > 0:
        together = best.not_separable(model, response.higher_is_better, response.log)
        tied = pd.Series(together, index=names).reindex(center.index).astype("boolean")
    if model.variance > 0 or model.shared > 0:  # else nothing shows how much a seed matters
        level = model.levels()
        shifts = (pd.Series(end - level.estimate, index=names) for end in (level.low, level.high))
        shifts = (shift.reindex(center.index) for shift in shifts)
        low, high = (center * np.exp(shift) if response.log else center + shift for shift in shifts)
    if leader in names and model.variance > 0:
        apart = model.differences(names.index(leader))
        ends = (pd.Series(end, index=names).reindex(center.index) for end in (apart.low, apart.high))
        ends = (center[leader] * pd.Series(np.expm1(e), e.index) if response.log else e for e in ends)
        behind = Ends(*(end.where(end.index != leader) for end in ends))
    return replace(of, low=low, high=high, tied=tied, behind=behind)


def _wins(table: Wide, index: pd.Index[str]) -> Estimate:
    """How often each formulation has a lower mean front index than the leader in the same dataset and seed."""
    blocks = table.blocks("rank").table
    leader = blocks.loc[index[0]].to_numpy()
    found = {name: wins.win_rate(blocks.loc[name].to_numpy(), leader, False) for name in index[1:]}
    rate, low, high = (
        pd.Series({name: getattr(w, part) for name, w in found.items()}, dtype="float64").reindex(index)
        for part in ("rate", "low", "high")
    )
    return Estimate(rate, low, high)
