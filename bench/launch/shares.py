"""How the cells that are to be run are divided among workers."""

from __future__ import annotations

from collections.abc import Sequence

from bench.launch.submission import Executor, Share
from bench.plan import Plan, Planned, even, together


def divide(plan: Plan, executor: Executor, slots: int, pack: int | None, canary: bool) -> list[list[Planned]]:
    """The cells of each worker; with ``canary`` the first of each formulation come first, one worker each.

    One local slot has one worker, which loads everything once. More slots share each group of cells that can train in one
    graph, in parts of ``pack`` if it is given; on a cluster, where device-hours are paid for, ``auto`` leaves a group whole.
    """
    first = {p.cell.id for p in canaries(plan)} if canary else set()
    if executor == "local" and slots == 1 and not first:
        ready = plan.ready()
        return [ready] if ready else []
    groups = together(plan.groups())
    rest = [tuple(p for p in group if p.cell.id not in first) for group in groups]
    rest = [group for group in rest if group]
    alone = [[p] for p in canaries(plan)] if canary else []
    if executor == "local" and slots == 1:
        return alone + ([[p for group in rest for p in group]] if rest else [])
    parts = -(-slots // max(1, len(rest))) if executor == "local" else 1
    return alone + [
        list(part) for group in rest for part in even(group, pack or -(-len(group) // min(parts, len(group))))
    ]


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
