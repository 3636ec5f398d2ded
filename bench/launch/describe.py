"""What ``--dry-run`` prints. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from bench import estimate, plan, status
from bench.cli import Arguments
from bench.launch import activity, drive, local, slurm
from bench.plan import Plan
from bench.wording import many
from samplers.errors import UserError


def describe(planned: Plan, args: Arguments) -> str:
    """The plan in words: what would be run, what is there already, and what it will cost."""
    there = planned.out.is_dir()
    planned = activity.overlay(planned, activity.survey(planned.out)) if there else planned
    divided = drive.divided_cells(planned, args)
    grid, recipe, evaluation, execution = (
        planned.grid,
        planned.grid.training,
        planned.grid.evaluation,
        args.execution,
    )
    names = plan.formulations_of(planned)
    width, heads = grid.model.sizes
    cost = estimate.estimate(
        planned.cells, divided, grid, execution.executor, execution.device, execution.pack, args.tflops
    )
    lines = [
        f"{len(planned.cells)} cells: {len(names)} formulations x {len(grid.datasets)} datasets x {grid.seeds} seeds, "
        f"in {planned.out}",
        f"  {status.counts(planned)}",
        f"model: depth {grid.model.depth}, width {width}, heads {heads}, patch {grid.model.patch}, text {grid.text}",
        f"training: {recipe.steps} steps of {recipe.batch}, lr {recipe.lr:g}, {recipe.precision}",
        f"evaluation: {evaluation.samples} images x {len(evaluation.settings)} sampler settings x "
        f"{' and '.join(evaluation.weights)} weights, {evaluation.grid} grid, {evaluation.extractor}",
        workers(divided, args),
        f"cost: {estimate.describe(cost)}",
        "formulations:",
        *(f"  {name}" for name in names),
    ]
    return "\n".join(lines)


def workers(divided: Sequence[Sequence[plan.Planned]], args: Arguments) -> str:
    """How the cells would be handed out."""
    sizes = sorted({len(part) for part in divided}) or [0]
    cells_each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    told = f"{many(len(divided), 'worker')} of {cells_each} cells"
    if args.execution.executor == "local":
        return f"executor: local, {many(len(local.slots(args.execution)), 'slot')}, {told}"
    limit, most = args.slurm.minutes, args.slurm.parallelism
    arrays = many(-(-len(divided) // largest_array()), "array")
    return f"executor: slurm, {told} in {arrays}, {limit} minutes each, at most {most} at once"


def largest_array() -> int:
    """How many tasks an array may have: Slurm's default where Slurm cannot be asked."""
    try:
        return slurm.USUAL_ARRAY if slurm.obstacle() else slurm.largest_array()
    except UserError:
        return slurm.USUAL_ARRAY
