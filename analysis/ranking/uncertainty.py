"""How sure a ranking is: for each formulation intervals, whether it can be told from the best, and where its position
may lie.

Four responses are modelled (`analysis.stats.two_way`): the mean front index, CLIP, FID and validation loss of a
dataset and seed,
the last two relative to the formulation's level. What is modelled is what is printed: the same trainings, settings and
weights. Where a Frechet distance is not positive (an unbiased estimate can be), FID itself is modelled. A formulation that
lacks one of these values has no intervals for that response; the others are compared without it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.ranking.blocks import Blocks
from analysis.ranking.fixed_draw import FixedDraw
from analysis.ranking.resolution import Resolution, resolution
from analysis.ranking.wide import Wide
from analysis.results import declared
from analysis.results.schema import CONTROL
from analysis.stats import best, wins
from analysis.stats import two_way as stats
from analysis.stats.stability import DRAWS, Stability, stability
from analysis.stats.two_way import TwoWay
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True)
class Response:
    """What is compared; ``log``: its noise grows with its level, so the model is of the mean's logarithm."""

    name: str
    log: bool
    higher_is_better: bool


def responses(table: Wide) -> tuple[Response, ...]:
    """The rank and the metrics of `results.declared.COMPARED`; without the logarithm where a table has values that have
    none."""
    rank = Response("rank", log=False, higher_is_better=False)
    return (rank, *(_response(table, m) for m in declared.COMPARED if m in table.metrics))


def _response(table: Wide, metric: str) -> Response:
    log = table.metrics[metric].scale == "log" and not (table.values.get(metric, np.ones(1)) <= 0).any()
    return Response(metric, log, bool(table.metrics[metric].higher_is_better))


@dataclass(frozen=True, eq=False)
class Known:
    """What a table's seeds tell. ``responses`` are what was compared; ``left_out`` formulations lack an interval somewhere;
    ``unknown`` says of the responses without a model why (`analysis.ranking.blocks.Blocks.unknown`)."""

    responses: tuple[Response, ...]
    models: dict[str, TwoWay]
    resolutions: tuple[Resolution, ...]
    stability: Stability | None
    left_out: tuple[str, ...]
    unknown: dict[str, str]

    @property
    def agreement(self) -> float | None:
        """Mean Kendall correlation of the reported order with orders that are as likely to be the true one."""
        return None if self.stability is None else float(self.stability.agreement)

    def p_value(self, one: str, other: str) -> float:
        """Two-sided p-value of a difference in mean front by the paired t test; NaN where a formulation has no interval."""
        model = self.models.get("rank")
        if model is None or one not in model.names or other not in model.names or not model.df:
            return math.nan
        from scipy.special import stdtr

        i, j = model.names.index(one), model.names.index(other)
        error = math.sqrt((model.bounded[i] + model.bounded[j]) / model.replicates)
        apart = abs(float(model.means[i] - model.means[j]))
        return 2 * float(stdtr(model.moderated_df, -apart / error)) if error > 0 else math.nan


def of(table: Wide, draws: int = DRAWS, *, fixed: FixedDraw | None = None) -> Known:
    """Model every response of a table; ``draws`` of the bootstrap of its ranking, and the one draw of captions and noise
    that is ``fixed`` for its seeds, if the values of its samples are there."""
    models, resolutions, left, unknown = {}, [], set[str](), {}
    compared = tuple(r for r in responses(table) if r.name == "rank" or r.name in table.values)
    for response in compared:
        every = table.blocks(response.name)
        blocks = every.complete()
        if every.unknown is not None or blocks.table.empty:
            unknown[response.name] = every.unknown or "no formulation has every entry"
            continue
        left |= set(every.table.index) - set(blocks.table.index)
        models[response.name] = model = _model(blocks.relative() if response.log else blocks)
        if len(blocks.table) > 1:
            resolutions.append(
                resolution(
                    model, response.name, response.log, response.higher_is_better, blocks.counts, fixed
                )
            )
    firm = None if "rank" in unknown else _stability(table, draws)
    return Known(compared, models, tuple(resolutions), firm, tuple(sorted(left)), unknown)


def _model(blocks: Blocks) -> TwoWay:
    return stats.fit(
        blocks.table.to_numpy(), list(blocks.table.index), blocks.seeds, blocks.datasets, blocks.weights
    )


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


def columns(known: Known, table: Wide, ranking: pd.DataFrame) -> pd.DataFrame:
    """Columns for a ranking, by formulation: see `analysis.ranking.ranking.rank`."""
    out = pd.DataFrame(index=pd.Index(ranking["formulation"], name="formulation"))
    means, leader = ranking.set_index("formulation"), str(ranking["formulation"].iloc[0])
    for response in responses(table):
        name, model = response.name, known.models.get(response.name)
        out[f"{name}_tied"] = pd.array([pd.NA] * len(out), dtype="boolean")
        if model is None:
            continue
        together = best.not_separable(model, response.higher_is_better, response.log)
        tied = pd.Series(together, index=list(model.names))
        if len(model.names) > 1 and model.variance > 0:
            out[f"{name}_tied"] = tied.reindex(out.index).astype("boolean")
        center = means["rank_all" if name == "rank" else name]
        if model.variance > 0 or model.shared > 0:  # else nothing tells how much a seed matters
            for end, value in _ends(model, response, center).items():
                out[f"{name}_{end}"] = value
        if leader in model.names and model.variance > 0:
            for end, value in _behind(model, response, leader, center).items():
                out[f"{name}_behind_{end}"] = value
    found = known.stability
    if found is not None:
        for column, values in (
            ("position_low", found.low),
            ("position_high", found.high),
            ("front_one", found.front_one),
            ("first", found.first),
        ):
            out[column] = pd.Series(values, index=list(found.names), dtype="float64")
    else:
        out["position_low"] = out["position_high"] = np.nan
    return out.join(_wins(table, leader)) if known.models else out


def _ends(model: TwoWay, response: Response, center: pd.Series[float]) -> dict[str, pd.Series[float]]:
    """The interval of each formulation's mean over seeds, around the mean that is shown.

    Of a logarithm the interval is a factor on it.
    """
    level, names = model.levels(), list(model.names)
    found = {}
    for end, value in (("low", level.low), ("high", level.high)):
        shift = pd.Series(value - level.estimate, index=names)
        found[end] = center * np.exp(shift) if response.log else center + shift
    return found


def _behind(
    model: TwoWay, response: Response, leader: str, center: pd.Series[float]
) -> dict[str, pd.Series[float]]:
    """The paired interval of each formulation minus the leader, in the metric's own unit."""
    apart, names = model.differences(model.names.index(leader)), list(model.names)
    found = {}
    for end, value in (("low", apart.low), ("high", apart.high)):
        shift = np.asarray(center[leader] * np.expm1(value) if response.log else value)
        shift[names.index(leader)] = np.nan
        found[end] = pd.Series(shift, index=names)
    return found


def _wins(table: Wide, leader: str) -> pd.DataFrame:
    """How often each formulation has a lower mean front index than the leader in the same dataset and seed."""
    blocks = table.blocks("rank").table
    rows = {
        name: wins.win_rate(
            blocks.loc[name].to_numpy(), blocks.loc[leader].to_numpy(), higher_is_better=False
        )
        for name in blocks.index
        if name != leader
    }
    return pd.DataFrame(
        {
            "wins": {name: w.rate for name, w in rows.items()},
            "wins_low": {name: w.low for name, w in rows.items()},
            "wins_high": {name: w.high for name, w in rows.items()},
        },
        dtype="float64",
    )
