"""Quality against the number of sampling steps, as figure 3 of arXiv 2403.03206."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.plots import legends, lines, scales, widths
from analysis.plots.style import Drawn
from analysis.plots.subject import INTERVALS, Setting, Subject, Undrawable, merged, of_one_kind, sentences
from analysis.ranking import ideal
from analysis.tables.wording import count
from bench.metrics.base import Metric
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from formulations.colours import MUTED, colour

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")


DASH, GAP = 3.0, 1.5
"""Of the lines of a perfect network, in widths of the line."""
PERFECT: dict[str, Any] = {"color": MUTED, "linestyle": (0, (DASH, GAP)), "linewidth": 0.9}


def draw(subject: Subject) -> Drawn:
    """A row of panels for each dataset: CLIP score and FID."""
    settings = ladder(subject)
    found = {(d, m): _table(subject, d, m, settings) for d in subject.datasets for m in ("clip", "fid")}
    found = {key: value for key, value in found.items() if len(value[0])}
    metrics = [m for m in ("clip", "fid") if any(key[1] == m for key in found)]
    datasets = [d for d in subject.datasets if any(key[0] == d for key in found)]
    if not found:
        raise Undrawable(f"no formulation has a CLIP score or FID at all of {_told(settings)} steps")
    names = list(dict.fromkeys(name for table, _, _ in found.values() for name in table.index))
    lit = subject.highlighted(names)
    places = [(dataset, metric) for dataset in datasets for metric in metrics]
    figure, panels = lines.grid(len(places), subject.width, legend=len(lit) + 1)
    perfect, told = _ideal(
        subject, settings, {d: found[d, "fid"][0] for d in datasets if (d, "fid") in found}, lit
    )
    for panel, (dataset, metric) in zip(panels, places, strict=True):
        if (dataset, metric) in found:
            table, half, _ = found[dataset, metric]
            lines.draw(panel, table, lit, half)
            dashed = perfect.get(dataset, table.iloc[:0]) if metric == "fid" else table.iloc[:0]
            _dashes(panel, dashed)
            bars = [table.reindex(lit) + sign * half.reindex(lit) for sign in (-1, 1)]
            _axes(panel, subject.metric(metric), pd.concat([table, dashed]), pd.concat(bars))
            if len(datasets) > 1:
                panel.set_title(widths.dataset_shown(dataset))
        else:
            panel.remove()
    legends.legend(figure, lit, len(names) - len(lit), more={"perfect network": PERFECT} if perfect else {})
    caption = sentences(
        f"Quality of {count(len(names), 'formulation')} on {' and '.join(datasets)} against the number of sampling steps,",
        f"{settings[0].kind}, guidance {settings[0].cfg:g};",
        f"{subject.seeds_told(INTERVALS + ', set off sideways to be seen')}.",
        told,
        subject.highlight_told(lit, names),
        subject.recipes(*metrics),
        subject.not_shown(datasets, "these numbers in every seed"),
        subject.left_out(merged({d: dict(value[2]) for (d, _), value in found.items()})),
    )
    return Drawn("steps", "Quality against sampling steps", caption, figure)


def _ideal(
    subject: Subject, settings: list[Setting], tables: Mapping[str, pd.DataFrame], lit: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], str]:
    """By dataset the FID ``[F, steps]`` that the steps leave to a perfect network of the highlighted formulations, and what
    the caption tells of it; nothing if it was not computed (`analysis.ranking.ideal`)."""
    try:
        left = ideal.left(subject.run)
    except UserError as error:
        return {}, f"No perfect network is shown: {error}."
    if left is None:
        return {}, ""
    same = [left[name] == getattr(settings[0], name) for name in ("solver", "grid", "cfg")]
    left = left[same[0] & same[1] & same[2]]
    found, told = {}, []
    for dataset, table in tables.items():
        here = left[(left["dataset"] == dataset) & left["formulation"].isin(lit)]
        perfect = here.pivot_table(index="formulation", columns="steps", values="fid")
        perfect = perfect.reindex(columns=table.columns).reindex(
            [n for n in table.index if n in perfect.index]
        )
        perfect = perfect.dropna()
        if len(perfect):
            found[dataset] = perfect
            few = int(table.columns[0])
            shares = [f"{perfect.loc[n, few]:.3g} of {table.loc[n, few]:.3g} ({n})" for n in perfect.index]
            told.append(f"on {dataset} at {few} steps the perfect network has {', '.join(shares)}")
    head = "Dashes without markers: the FID that steps and guidance leave to a perfect network;"
    return found, f"{head} {'; '.join(told)}." if told else ""


def _dashes(panel: Axes, perfect: pd.DataFrame) -> None:
    """A line of dashes for each row; where lines coincide, their dashes stand one behind the other."""
    rows = {name: tuple(row.round(6)) for name, row in perfect.iterrows()}
    for name, row in rows.items():
        same = [other for other in rows if rows[other] == row]
        step = DASH + GAP
        dashes = (-step * same.index(name), (DASH, GAP + step * (len(same) - 1)))
        look = {**PERFECT, "color": colour(str(name)), "linestyle": dashes, "label": f"{name}, perfect"}
        panel.plot(perfect.columns.to_numpy(dtype=float), row, zorder=2.5, **look)


def ladder(subject: Subject) -> list[Setting]:
    """The settings with the guidance of those with the fewest steps, by steps; EMA weights if there are any."""
    found = of_one_kind(subject.settings)
    fewest = min(s.steps for s in found)
    scales = {s.cfg: [t for t in found if t.cfg == s.cfg] for s in found if s.steps == fewest}
    cfg = min(scales, key=lambda c: (-len(scales[c]), abs(c - 5), c))
    if len(scales[cfg]) < 2:
        raise Undrawable(f"there is only one number of sampling steps ({fewest}) at guidance {cfg:g}")
    return sorted(scales[cfg], key=lambda s: s.steps)


def _told(settings: list[Setting]) -> str:
    return ", ".join(str(s.steps) for s in settings)


def _table(
    subject: Subject, dataset: str, metric: str, settings: list[Setting]
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Means over seeds and half of their intervals ``[F, steps]`` of who has them all, and why others have not."""
    seeds = {s.steps: subject.by_seed(metric, dataset, s) for s in settings}
    seeds = {steps: value for steps, value in seeds.items() if len(value.table)}
    lost = {name: why for value in seeds.values() for name, why in value.lost.items()}
    if len(seeds) < 2:
        return pd.DataFrame(), pd.DataFrame(), lost
    mean, half = (
        pd.DataFrame({steps: getattr(value, what) for steps, value in seeds.items()})
        for what in ("mean", "half")
    )
    names = [name for name in subject.order if name in mean.index and name not in lost]
    return mean.loc[names], half.loc[names], lost


def _axes(panel: Axes, metric: Metric, table: pd.DataFrame, bars: pd.DataFrame) -> None:
    """Axes on which all lines and the ends of their bars are seen."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator([float(c) for c in table.columns]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("sampling steps")
    if metric.scale == "log" and scales.wide_range(table.to_numpy()):
        panel.set_ylim(*scales.spread(pd.concat([table, bars]).to_numpy(), True))
        scales.log_axis(panel.yaxis)
    panel.set_ylabel(f"{metric.title}, {metric.direction}")
