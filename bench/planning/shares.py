"""How the cells that are to be run are divided among workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.config.experiment import Grid
from bench.planning.plan import Plan, Planned, even, grouped, together
from bench.planning.requirements import by_cell
from bench.runfolder.submission import Share


def divide(plan: Plan, slots: int | None, pack: int | None, canary: bool) -> list[list[Planned]]:
    """The cells of each worker; with ``canary`` the first of each formulation come first, one worker each.

    One slot has one worker, which loads everything once. More slots share each group of cells that can train in one graph,
    in parts of ``pack`` if it is given; without slots, as on a cluster where device-hours are paid for, ``auto`` leaves a
    group whole. A cell that builds on another is the same worker's, after it.
    """
    first = {p.cell.id for p in canaries(plan)} if canary else set()
    if slots == 1 and not first:
        ready = plan.ready()
        return [ready] if ready else []
    chains = {chain[0].cell.id: chain for chain in plan.chains()}
    groups = together(grouped(chain[0] for chain in chains.values()))
    rest = [tuple(p for p in group if p.cell.id not in first) for group in groups]
    rest = longest_first([group for group in rest if group], plan.grid, chains)
    parts = [[p] for p in canaries(plan)] if canary else []
    if slots == 1:
        parts += [[p for group in rest for p in group]] if rest else []
    else:
        each = -(-slots // max(1, len(rest))) if slots else 1
        parts += [
            list(part)
            for group in rest
            for part in even(group, pack or -(-len(group) // min(each, len(group))))
        ]
    whole = ([p for head in part for p in chains[head.cell.id]] for part in parts)
    return [sorted(part, key=lambda p: len(p.cell.ancestors)) for part in whole]


def longest_first(
    groups: Sequence[tuple[Planned, ...]], grid: Grid, chains: Mapping[str, Sequence[Planned]]
) -> list[tuple[Planned, ...]]:
    """The groups in the order in which they are best begun: one that is long and begun last keeps all waiting."""
    look = by_cell(grid)

    def operations(group: tuple[Planned, ...]) -> float:
        each = 0.0
        for p in chains[group[0].cell.id]:
            requirements = look(p.cell)
            each += sum(requirements.generation.values()) + (
                0 if p.state == "trained" else requirements.training
            )
        return len(group) * each

    return sorted(groups, key=operations, reverse=True)


def canaries(plan: Plan) -> list[Planned]:
    """The first cell of each formulation that has more than one to begin with."""
    cells: dict[str, list[Planned]] = {}
    for chain in plan.chains():
        cells.setdefault(chain[0].cell.formulation, []).append(chain[0])
    return [found[0] for found in cells.values() if len(found) > 1]


def as_shares(divided: Sequence[Sequence[Planned]], plan: Plan, canary: bool) -> list[Share]:
    """The divided cells as a submission holds them."""
    first = {p.cell.id for p in canaries(plan)} if canary else set()
    return [Share(tuple(p.cell.id for p in part), any(p.cell.id in first for p in part)) for part in divided]
