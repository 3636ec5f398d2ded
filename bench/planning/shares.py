"""How the cells that are to be run are divided among workers."""

from __future__ import annotations

from collections.abc import Sequence

from bench.config.experiment import Grid
from bench.planning.amounts import by_cell
from bench.planning.plan import Plan, Planned, even, together
from bench.runfolder.submission import Share


def divide(plan: Plan, slots: int | None, pack: int | None, canary: bool) -> list[list[Planned]]:
    """The cells of each worker; with ``canary`` the first of each formulation come first, one worker each.

    One slot has one worker, which loads everything once. More slots share each group of cells that can train in one graph,
    in parts of ``pack`` if it is given; without slots, as on a cluster where device-hours are paid for, ``auto`` leaves a
    group whole.
    """
    first = {p.cell.id for p in canaries(plan)} if canary else set()
    if slots == 1 and not first:
        ready = plan.ready()
        return [ready] if ready else []
    groups = together(plan.groups())
    rest = [tuple(p for p in group if p.cell.id not in first) for group in groups]
    rest = longest_first([group for group in rest if group], plan.grid)
    alone = [[p] for p in canaries(plan)] if canary else []
    if slots == 1:
        return alone + ([[p for group in rest for p in group]] if rest else [])
    parts = -(-slots // max(1, len(rest))) if slots else 1
    return alone + [
        list(part) for group in rest for part in even(group, pack or -(-len(group) // min(parts, len(group))))
    ]


def longest_first(groups: Sequence[tuple[Planned, ...]], grid: Grid) -> list[tuple[Planned, ...]]:
    """The groups in the order in which they are best begun: one that is long and begun last keeps all waiting."""
    look = by_cell(grid)

    def operations(group: tuple[Planned, ...]) -> float:
        amounts, trained = look(group[0].cell), group[0].state == "trained"
        return len(group) * (sum(amounts.generation.values()) + (0 if trained else amounts.training))

    return sorted(groups, key=operations, reverse=True)


def canaries(plan: Plan) -> list[Planned]:
    """The first cell of each formulation that has more than one to run."""
    cells: dict[str, list[Planned]] = {}
    for p in plan.ready():
        cells.setdefault(p.cell.formulation, []).append(p)
    return [found[0] for found in cells.values() if len(found) > 1]


def as_shares(divided: Sequence[Sequence[Planned]], plan: Plan, canary: bool) -> list[Share]:
    """The divided cells as a submission holds them."""
    first = {p.cell.id for p in canaries(plan)} if canary else set()
    return [Share(tuple(p.cell.id for p in part), any(p.cell.id in first for p in part)) for part in divided]
