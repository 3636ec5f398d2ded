"""The picture of ``python -m formulations --plot``: density, weight and budget over noise levels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench._core.errors import UserError
from formulations import colours
from formulations.formulation import Formulation
from formulations.profile import curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg")
SPAN = 12.0
"""Log-SNR range that is drawn, +-12."""
LAST_PHASE: colours.LineStyle = (0, (0.5, 2.0))


def checked(path: str) -> Path:
    """The path of the picture.

    Raises:
        UserError: unless it ends in .png or .svg and its folder exists.
    """
    file = Path(path).expanduser()
    if file.suffix.lower() not in FORMATS:
        raise UserError(f"--plot {path!r}: the picture must end in .png or .svg")
    if not file.parent.is_dir():
        raise UserError(f"--plot {path!r}: no folder {str(file.parent)!r}")
    return file


def save(formulations: Sequence[Formulation], path: str) -> Path:
    """Draws and writes the picture; returns where.

    Raises:
        UserError: a wrong file name, or a file that cannot be written.
    """
    file = checked(path)
    try:
        draw(formulations).savefig(file, dpi=150)
    except OSError as error:
        raise UserError(f"--plot {path!r} cannot be written: {error.strerror or error}") from error
    return file


def draw(formulations: Sequence[Formulation]) -> Figure:
    """Three panels: density over the clock, weight over the log-SNR (log scale), budget over the clock.

    The look of a formulation is that of all figures (:mod:`formulations.colours`). One that changes during training is
    drawn twice, its last phase in fine dots.
    """
    from matplotlib.figure import Figure

    lines = [(f, 0.0) for f in formulations] + [(f, 1.0) for f in formulations if f.law.switch]
    columns = min(max(len(lines), 1), max(1, 130 // (max(len(f.name) for f in formulations) + 14)))
    rows = -(-len(lines) // columns)
    figure = Figure(figsize=(13, 4.0 + 0.24 * rows), layout="constrained")
    panels = figure.subplots(1, 3)
    width = 3.4 if len(lines) <= 12 else 2.0
    tops = [  # ever thinner, as curves may coincide
        _lines(panels, f, progress, width * (1 - 0.65 * i / len(lines)))
        for i, (f, progress) in enumerate(lines)
    ]
    _axes(panels, tops)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return figure


def _lines(panels: Any, f: Formulation, progress: float, width: float) -> tuple[float, float]:
    """Draws one formulation; returns the heights of density and budget inside [0.03, 0.97] of the clock."""
    c = curves(f, progress)
    style: dict[str, Any] = {
        "color": colours.colour(f.name),
        "linestyle": LAST_PHASE if progress else colours.linestyle(f.name),
        "linewidth": width,
        "alpha": 0.9,
        "label": f.name + (" (at the end)" if progress else ""),
    }
    inside = (c.log_snr.abs() <= SPAN).numpy()
    panels[0].plot(c.clock.numpy(), c.density.numpy(), **style)
    panels[1].plot(c.log_snr.numpy()[inside], c.weight.numpy()[inside], **style)
    panels[2].plot(c.clock.numpy(), c.budget.numpy(), **style)
    middle = (c.clock > 0.03) & (c.clock < 0.97)
    return float(c.density[middle].max()), float(c.budget[middle].max())


def _axes(panels: Any, tops: list[tuple[float, float]]) -> None:
    titles = ("density of training times", "implied weight $w(\\lambda)$", "training budget")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title, fontsize=11)
        panel.grid(alpha=0.25, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    for index in (0, 2):
        height = max(top[0 if index == 0 else 1] for top in tops)
        panels[index].set(
            xlim=(0, 1), ylim=(0, min(1.08 * height, 8)), xlabel="clock $s = b/(a+b)$   (data 0, noise 1)"
        )
    panels[0].set_ylabel("density over the clock")
    panels[2].set_ylabel("share of the loss per unit of the clock")
    panels[1].set(xlim=(SPAN, -SPAN), yscale="log", ylim=(1e-4, 1e3), ylabel="weight of $|\\Delta n|^2$")
    panels[1].set_xlabel("log-SNR $\\lambda = 2\\log(a/b)$   (data left, noise right)")
