"""Axes: their limits, and the numbers on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def thousands(value: float) -> str:
    """``20k`` for 20000, ``1.5M`` for 1500000."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{sign}"
    return f"{value:g}"


def steps_axis(panel: Axes, steps: NDArray[np.float64]) -> None:
    """An axis of training steps, from 0 to the last of ``steps``."""
    from matplotlib.ticker import FuncFormatter

    panel.set_xlim(0, float(steps.max()) * 1.02)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    panel.set_xlabel("training steps")


def log_axis(axis: Any) -> None:
    """A logarithmic axis with a few plain numbers; limits must be set before."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = axis.get_view_interval()
    axis.set_major_locator(FixedLocator(log_ticks(float(low), float(high))))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers in [low, high]; both positive."""
    from matplotlib.ticker import MaxNLocator

    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        begin = int(np.floor(np.log10(low)))
        found = [s * 10.0**e for e in range(begin, int(np.ceil(np.log10(high))) + 1) for s in steps]
        found = [float(f"{v:.6g}") for v in found if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]
        if len(found) >= 3:
            return found[:: -(-len(found) // 8)]
    ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(f"{v:.10g}") for v in ticks if low <= v <= high and v > 0]


def spread(values: Any, log: bool, margin: float = 0.05) -> tuple[float, float]:
    """Limits of an axis around all finite values, with a margin; around a single value, some room."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite) & ((finite > 0) | (not log))]
    ends = np.array([finite.min(), finite.max()])
    if log:
        ends = np.log(ends)
    room = margin * (ends[1] - ends[0]) or (0.1 if log else 0.1 * max(abs(ends[0]), 1e-12))
    ends = ends + np.array([-room, room])
    return tuple(float(v) for v in (np.exp(ends) if log else ends))  # type: ignore[return-value]


def wide_range(values: Any, factor: float = 3.0) -> bool:
    """Whether positive values span more than ``factor``, so that a logarithm shows them better."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    return bool(len(finite) and finite.min() > 0 and finite.max() / finite.min() > factor)
