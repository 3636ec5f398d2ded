"""Quality against the number of sampling steps, as figure 3 of arXiv 2403.03206."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.wording import count
from samplers.lazy import lazy

from . import lines, style
from .style import Drawn
from .subject import INTERVALS, METRICS, Setting, Subject, Undrawable, merged, of_one_kind, sentences

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
else:
    pd = lazy("pandas")


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
    width = style.WIDE if len(metrics) > 1 else style.COLUMN
    height = 2.1 * len(datasets) + style.legend_height(width, len(lit) + 1)
    figure = style.figure(width, height)
    panels = figure.subplots(len(datasets), len(metrics), squeeze=False)
    for row, dataset in zip(panels, datasets, strict=True):
        for panel, metric in zip(row, metrics, strict=True):
            if (dataset, metric) in found:
                table, half, _ = found[dataset, metric]
                lines.draw(panel, table, lit, half)
                _axes(panel, metric, table)
                if len(datasets) > 1:
                    panel.set_title(style.dataset_shown(dataset))
            else:
                panel.remove()
    style.legend(figure, lit, len(names) - len(lit))
    caption = sentences(
        f"Quality of {count(len(names), 'formulation')} on {' and '.join(datasets)} against the number of sampling steps,",
        f"{settings[0].kind}, guidance {settings[0].cfg:g};",
        f"{subject.seeds_told(INTERVALS + ', set off sideways to be seen')}.",
        subject.highlight_told(lit, names),
        subject.recipes(*metrics),
        subject.not_shown(datasets, "these numbers in every seed"),
        subject.left_out(merged({d: dict(value[2]) for (d, _), value in found.items()})),
    )
    return Drawn("steps", "Quality against sampling steps", caption, figure)


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


def _axes(panel: Axes, metric: str, table: pd.DataFrame) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator([float(c) for c in table.columns]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlabel("sampling steps")
    if metric == "fid" and style.wide_range(table.to_numpy()):
        panel.set_ylim(*style.spread(table.to_numpy(), True))
        style.log_axis(panel.yaxis)
    panel.set_ylabel(f"{METRICS[metric]}, higher is better" if metric == "clip" else "FID, lower is better")
