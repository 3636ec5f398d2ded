"""Attention while training: its largest logit and its entropy, as in figure 5 of arXiv 2403.03206."""

from __future__ import annotations

import numpy as np

from analysis.plots import lines, scales
from analysis.plots.captions import sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Shown, Subject
from analysis.plots.training import over_seeds
from analysis.runs.sources import LAST, PROBES

LABELS = dict(zip(PROBES, ("largest attention logit", "attention entropy, nats"), strict=True))


def draw(subject: Subject) -> Drawn:
    """A panel for each number and dataset, against training steps; raises `Undrawable` for a run without ``--probes``."""
    found = [(name, over_seeds(subject, dataset, name)) for name in PROBES for dataset in subject.datasets]
    found = [(name, part) for name, part in found if len(part.table)]
    if not found:
        raise subject.absent("numbers of attention (--probes)")
    shown = Shown(subject, [part for _, part in found])
    figure, panels = lines.panels(shown, [part.dataset for _, part in found])
    for panel, (name, part) in zip(panels, found, strict=True):
        lines.draw(panel, part, shown.lit, band=True)
        scales.steps_axis(panel, part.table.columns.to_numpy(dtype=np.float64))
        panel.set_ylabel(LABELS[name])
    caption = sentences(
        f"Largest logit and mean entropy of attention on validation images, of {shown.named()}, by the weights that train:",
        f"means over the last {LAST} blocks, or all of a network with fewer.",
        "Logits are products of queries and keys, divided by the root of their width;",
        f"{subject.averaged('bands one standard deviation over seeds')}.",
        shown.coloured(),
        shown.left_out(),
    )
    return Drawn("attention", "Attention during training", caption, figure)
