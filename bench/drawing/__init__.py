"""Draws images from trained cells: one file for a cell and its images, one for images on a sheet, one for prompts of others.
Called by commands and the public face. Importing needs no torch."""

from bench.drawing.sheet import sheet, write
from bench.drawing.trained import (
    MOST,
    Trained,
    batches,
    canonical,
    choose,
    draw,
    is_kept,
    noise,
    shown,
    trained,
)

__all__ = [
    "MOST",
    "Trained",
    "batches",
    "canonical",
    "choose",
    "draw",
    "is_kept",
    "noise",
    "sheet",
    "shown",
    "trained",
    "write",
]
