"""The native times that the steps of a setting leave, and where they begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor

from bench.config.sampling_settings import Setting
from bench.config.time_grids import listed, shifted_by
from formulations import Formulation, grids

IN_RATIO = {"karras": grids.karras, "logsnr": grids.log_snr}


def begun(f: Formulation, start: float | Literal["native"]) -> Formulation:
    """The formulation with its sampling grids from b / a = ``start`` (:class:`bench.config.experiment.Evaluation`)."""
    return f if start == "native" else replace(f, top=float(start))


def times(f: Formulation, setting: Setting) -> Tensor:
    """The native times ``[steps]`` that the steps of a setting leave, float64. Raises :class:`UserError` for a grid that
    needs a network (:mod:`bench.config.time_grids`)."""
    if setting.grid == "native":
        return f.grid(setting.steps)
    if setting.grid in IN_RATIO:
        return IN_RATIO[setting.grid](f, setting.steps)
    if (table := listed(setting.grid)) is not None:
        return grids.TABLES[table[0]](f, table[1])
    return f.clock_grid(setting.steps, shifted_by(setting.grid))
