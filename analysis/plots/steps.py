"""Quality against the number of sampling steps, as figure 3 of arXiv 2403.03206."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.plots import lines, scales
from analysis.plots.captions import INTERVALS, sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Part, Shown, Subject, Undrawable, ladders
from analysis.ranking import ideal_columns
from bench.config.sampling_settings import ControlSetting
from bench.metrics.metric import Metric
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from formulations.colours import MUTED, colour

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")


METRICS = ("clip", "fid")
DASH, GAP = 3.0, 1.5
"""Of the lines of a perfect network, in widths of the line."""
PERFECT: dict[str, Any] = {"color": MUTED, "linestyle": (0, (DASH, GAP)), "linewidth": 0.9}


def draw(subject: Subject) -> Drawn:
    """A row of panels for each dataset: CLIP score and FID."""
    settings = ladder(subject.settings)
    found = {(d, m): _part(subject, d, m, settings) for d in subject.datasets for m in METRICS}
    found = {key: part for key, part in found.items() if len(part.table)}
    if not found:
        numbers = ", ".join(str(s.steps) for s in settings)
        raise Undrawable(f"no formulation has a CLIP score or FID at all of {numbers} steps")
    shown = Shown(subject, list(found.values()))
    metrics = [m for m in METRICS if any(key[1] == m for key in found)]
    places = [(dataset, metric) for dataset in shown.datasets for metric in metrics]
    tables = {dataset: part.table for (dataset, metric), part in found.items() if metric == "fid"}
    perfect, about = _ideal(subject, settings[0], tables, shown.lit)
    figure, panels = lines.panels(
        shown, [dataset for dataset, _ in places], {"perfect network": PERFECT} if perfect else {}
    )
    for panel, (dataset, metric) in zip(panels, places, strict=True):
        if (part := found.get((dataset, metric))) is None:
            panel.remove()
            continue
        lines.draw(panel, part, shown.lit)
        dashed = perfect.get(dataset, part.table[:0]) if metric == "fid" else part.table[:0]
        _dashes(panel, dashed)
        _axes(panel, subject.metric(metric), part, dashed, shown.lit)
    caption = sentences(
        f"Quality of {shown.named()} against the number of sampling steps,",
        f"{settings[0].kind}, guidance {settings[0].cfg:g};",
        f"{subject.averaged(INTERVALS + ', set off sideways to be seen')}.",
        about,
        shown.coloured(),
        subject.recipes(*metrics),
        shown.not_shown("these numbers in every seed"),
        shown.left_out(),
    )
    return Drawn("steps", "Quality against sampling steps", caption, figure)


def ladder(settings: Sequence[ControlSetting]) -> list[ControlSetting]:
    """The settings with the guidance of those with the fewest steps, by steps; EMA weights if there are any."""
    found = ladders(settings)
    fewest = min(rungs[0].steps for rungs in found)
    rungs = next(rungs for rungs in found if rungs[0].steps == fewest)
    if len(rungs) < 2:
        raise Undrawable(
            f"there is only one number of sampling steps ({fewest}) at guidance {rungs[0].cfg:g}"
        )
    return rungs


def _part(subject: Subject, dataset: str, metric: str, settings: list[ControlSetting]) -> Part:
    """Means over seeds and half of their intervals ``[F, steps]`` of the formulations that have them all."""
    seeds = {s.steps: subject.by_seed(metric, dataset, s) for s in settings}
    seeds = {steps: value for steps, value in seeds.items() if len(value.table)}
    lost = {name: why for value in seeds.values() for name, why in value.lost.items()}
    if len(seeds) < 2:
        return Part(dataset, pd.DataFrame(), lost)
    mean = pd.DataFrame({steps: value.mean for steps, value in seeds.items()})
    half = pd.DataFrame({steps: value.half for steps, value in seeds.items()})
    names = [name for name in subject.order if name in mean.index and name not in lost]
    return Part(dataset, mean.loc[names], lost, half.loc[names])


def _ideal(
    subject: Subject, setting: ControlSetting, tables: Mapping[str, pd.DataFrame], lit: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], str]:
    """By dataset the FID ``[F, steps]`` that the steps leave to a perfect network of the highlighted formulations, and a
    sentence about it; nothing if it was not computed (`analysis.ranking.ideal_columns`)."""
    try:
        left = ideal_columns.left(subject.run)
    except UserError as error:
        return {}, f"No perfect network is shown: {error}."
    if left is None:
        return {}, ""
    if not setting.usual:
        return {}, ""
    for name in ("solver", "grid", "cfg"):
        left = left[left[name] == getattr(setting, name)]
    found, parts = {}, []
    for dataset, table in tables.items():
        here = left[(left["dataset"] == dataset) & left["formulation"].isin(lit)]
        perfect = here.pivot_table(index="formulation", columns="steps", values="fid")
        order = [name for name in table.index if name in perfect.index]
        perfect = perfect.reindex(columns=table.columns).reindex(order).dropna()
        if len(perfect):
            found[dataset] = perfect
            few = int(table.columns[0])
            pairs = [f"{perfect.loc[n, few]:.3g} of {table.loc[n, few]:.3g} ({n})" for n in perfect.index]
            parts.append(f"on {dataset} at {few} steps the perfect network has {', '.join(pairs)}")
    head = "Dashes without markers: the FID that steps and guidance leave to a perfect network;"
    return found, f"{head} {'; '.join(parts)}." if parts else ""


def _dashes(panel: Axes, perfect: pd.DataFrame) -> None:
    """A line of dashes for each row; where lines coincide, their dashes stand one behind the other."""
    rows = {name: tuple(row.round(6)) for name, row in perfect.iterrows()}
    for name, row in rows.items():
        same = [other for other in rows if rows[other] == row]
        step = DASH + GAP
        dashes = (-step * same.index(name), (DASH, GAP + step * (len(same) - 1)))
        look = {**PERFECT, "color": colour(str(name)), "linestyle": dashes, "label": f"{name}, perfect"}
        panel.plot(perfect.columns.to_numpy(dtype=float), row, zorder=2.5, **look)


def _axes(panel: Axes, metric: Metric, part: Part, dashed: pd.DataFrame, lit: list[str]) -> None:
    """Axes on which all lines and the ends of their bars are seen."""
    steps = [float(c) for c in part.table.columns]
    panel.set_xscale("log")
    panel.set_xticks(steps, [f"{s:g}" for s in steps])
    panel.minorticks_off()
    panel.set_xlabel("sampling steps")
    drawn = pd.concat([part.table, dashed])
    if metric.scale == "log" and scales.wide_range(drawn.to_numpy()):
        assert part.half is not None
        mean, half = part.table.reindex(lit), part.half.reindex(lit)
        panel.set_ylim(*scales.spread(pd.concat([drawn, mean - half, mean + half]).to_numpy(), True))
        scales.log_axis(panel.yaxis)
    panel.set_ylabel(f"{metric.title}, {metric.direction}")
