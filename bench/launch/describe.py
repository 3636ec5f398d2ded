"""What ``--dry-run`` prints. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from bench import estimate, plan, status
from bench.cli import Arguments
from bench.launch import activity, drive, local
from bench.plan import Plan


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
    told = f"{len(divided)} {'worker' if len(divided) == 1 else 'workers'} of {cells_each} cells"
    if args.execution.executor == "local":
        return f"executor: local, {len(local.slots(args.execution))} slots, {told}"
    limit, most = args.slurm.minutes, args.slurm.parallelism
    return f"executor: slurm, {told}, {limit} minutes each, at most {most} at once"
