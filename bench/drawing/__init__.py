"""Draws images from trained cells: one file for a cell and its images, one for images on a sheet. Called by commands and
the public face. Importing needs no torch."""

from bench.drawing.sheet import sheet, write
from bench.drawing.trained import Trained, canonical, choose, draw, is_kept, noise, trained

__all__ = ["Trained", "canonical", "choose", "draw", "is_kept", "noise", "sheet", "trained", "write"]
