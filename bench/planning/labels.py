"""Names of cells: by all in which they differ from others of their grid. No torch."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.cells import cell_len

from bench.config.experiment import Cell, Grid
from bench.planning.plan import Plan, Planned
from flowbench._core.terminal import cropped, many, short, width, wrapped


def block(
    word: str, cells: Sequence[Planned], why: str, planned: Plan, story: Iterable[str], files: Iterable[Path]
) -> list[str]:
    """A paragraph about cells with the same fate."""
    reason = textwrap.shorten(why, 400, placeholder=" ...")
    lines = wrapped(f"{many(len(cells), 'cell')} {word}" + f": {reason}" * bool(reason))
    lines += [f"  {names(cells, planned, width() - 2)}"]
    text = textwrap.dedent("\n".join(story)).splitlines()
    return lines + [cropped(f"  | {line}") for line in text] + [f"  {short(file)}" for file in files]


def names(cells: Sequence[Planned], planned: Plan, room: int) -> str:
    """As many names as fit, ``and 212 more``."""
    text = ""
    for i, p in enumerate(cells):
        name = label(p.cell, planned.grid)
        more = f" and {len(cells) - i} more"
        if text and cell_len(text + name + more) + 2 > room:
            return text + more
        text += f", {name}" if text else name
    return text


def label(cell: Cell, grid: Grid) -> str:
    """A cell by all in which it differs from others of its grid: ``rf digits seed 2 depth 3 600 steps``."""
    several = len(grid.datasets) > 1, grid.seeds > 1 or grid.first_seed > 0
    found = [cell.dataset] * several[0] + [f"seed {cell.seed}"] * several[1]
    return " ".join([cell.formulation, *found, *size_of(cell, grid)])


def place(cell: Cell, grid: Grid) -> str:
    """Where a cell stands in its grid, but for its formulation: ``shapes, seed 0``, and its size if there are several."""
    return ", ".join([cell.dataset, f"seed {cell.seed}", *size_of(cell, grid)])


def size_of(cell: Cell, grid: Grid) -> list[str]:
    """A cell's network, depth and steps, each if its grid has several."""
    found = [cell.model.architecture] * bool(grid.networks)
    found += [f"depth {cell.model.depth}"] * bool(grid.depths)
    return found + [f"{cell.training.steps} steps"] * bool(grid.budgets)
