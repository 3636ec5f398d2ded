"""``--confirm K``: re-run the formulations statistically tied with the best on K new seeds.

The best of many looks better than it is: it was chosen for its numbers, luck included. Fresh seeds are independent of that
choice. They begin where no ordinary seed can be, at :data:`bench.config.experiment.MOST_SEEDS`, and have a plan of
their own in ``DIR/confirm.json``. Which formulations were chosen stays what it was, whether more seeds are asked for later
or not, until the grid that they were chosen from is another one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.config.experiment import MOST_SEEDS, Grid
from bench.config.identity import full
from bench.planning import plan as plans
from bench.planning.cells import expand
from bench.planning.plan import ENDED, Chosen, Plan, formulations_of
from bench.runfolder.manifest import FILES
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import many, short

MOST = 100
"""Fresh seeds at most."""
FREE = ("formulations", "samplers", "seeds", "first_seed")
"""Fields of a grid in which a confirmation differs from what it confirms."""


def check(grid: Grid, seeds: int) -> None:
    """Raises :class:`UserError` for a grid with several networks, depths or budgets, with a single seed or formulation, and
    for a number of fresh seeds that cannot be."""
    if not 1 <= seeds <= MOST:
        raise UserError(f"--confirm {seeds}: choose 1 to {MOST} fresh seeds")
    grid.check_not_swept("--confirm")
    if grid.seeds < 2:
        raise UserError(
            "--confirm needs at least 2 seeds to find the formulations tied with the best: add --seeds 2 or more"
        )
    if len(expand(grid)) < 2:
        raise UserError("--confirm needs at least 2 formulations to compare")


def before(planned: Plan) -> str | None:
    """Why the plan itself comes before its confirmation: cells are not finished, or the run folder describes
    another plan, from which the analysis would choose. None if nothing does."""
    left = sum(p.state not in ENDED for p in planned.cells)
    if left:
        return f"{left} of {many(len(planned.cells), 'cell')} of the grid not finished"
    file = planned.out / FILES["rank"]
    described = atomic.read_object(file) if file.exists() else {}
    cells = described.get("cells")
    ids = {c.get("cell") for c in cells if isinstance(c, dict)} if isinstance(cells, list) else set()
    if ids != {p.cell.id for p in planned.cells} or described.get("evaluation") != planned.grid.evaluation.id:
        return f"the last command in {short(planned.out)} was about other cells or another evaluation"
    return None


def plan(planned: Plan, seeds: int) -> Plan:
    """The confirmation, on so many fresh seeds, of a plan that nothing comes :func:`before`."""
    names, chosen = kept(planned) or choose(planned)
    fresh = replace(planned.grid, formulations=names, samplers=(), seeds=seeds, first_seed=MOST_SEEDS)
    return replace(plans.make(fresh, planned.out), chosen=chosen)


def choose(planned: Plan) -> tuple[tuple[str, ...], Chosen]:
    """The formulations statistically tied with the best by what the run folder holds, and why them."""
    from analysis.ranking import confirmation  # imports pandas

    names, why = confirmation.group(planned.out)
    return names, Chosen(why, tuple(planned.grid.every_seed), formulations_of(planned))


def kept(planned: Plan) -> tuple[tuple[str, ...], Chosen] | None:
    """Those that were chosen before from the same grid; None if there are none."""
    file = planned.out / FILES["confirm"]
    if not file.exists():
        return None
    try:
        found = atomic.read_object(file)
        names, kept = found["grid"]["formulations"], found["chosen"]
        chosen = Chosen(kept["why"], tuple(kept["seeds"]), tuple(kept["among"]))
        grid = bound(found["grid"])
    except (KeyError, TypeError, AttributeError):
        raise atomic.Damaged(
            f"{file} is no plan of a confirmation: delete that file and run the command again"
        ) from None
    now = tuple(planned.grid.every_seed), formulations_of(planned)
    same = grid == bound(full(planned.grid)) and (chosen.seeds, chosen.among) == now
    return (tuple(names), chosen) if same else None


def discard_other(planned: Plan) -> bool:
    """Remove the confirmation of a grid that is trained or measured otherwise, which does not confirm this one; its cells
    stay. Returns whether there was one."""
    file = planned.out / FILES["confirm"]
    if not file.exists():
        return False
    grid = atomic.read_object(file).get("grid")
    other = not isinstance(grid, dict) or bound(grid) != bound(full(planned.grid))
    if other:
        file.unlink()
    return other


def bound(grid: dict[str, Any]) -> dict[str, Any]:
    """The fields of a grid that a confirmation shares with what it confirms."""
    return {name: value for name, value in grid.items() if name not in FREE}
