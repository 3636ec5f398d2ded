"""What ``--dry-run`` prints. No torch, but for a user's own formulations and captions."""

from __future__ import annotations

from collections.abc import Sequence

from bench import data, encoders
from bench.cli.parser import Arguments
from bench.config.experiment import Grid, Model
from bench.config.stages import texts
from bench.cost import estimate, price
from bench.driver import checks
from bench.driver.hand_out import check_beforehand, divided_cells
from bench.driver.memory import needed
from bench.launch import activities
from bench.planning import config_warnings, plan
from bench.planning.plan import Plan
from bench.planning.requirements import by_cell
from bench.status import status
from flowbench._core.errors import refusals
from flowbench._core.terminal import many


def describe(planned: Plan, args: Arguments) -> tuple[str, list[str]]:
    """The plan in words: what would be run, what is there already, and what it will cost; and the sentences about files,
    disk and memory that would stop the run.

    Raises :class:`UserError` for all else that would.
    """
    there = planned.out.is_dir()
    planned = activities.overlay(planned, activities.survey(planned.out)) if there else planned
    divided = divided_cells(planned, args)
    grid, recipe, evaluation, execution = (
        planned.grid,
        planned.grid.training,
        planned.grid.evaluation,
        args.execution,
    )
    names = plan.formulations_of(planned)
    check_beforehand(planned, args)
    memory = needed(divided, grid, execution, args.launcher) if divided else None
    stops = refusals([*checks.files(grid), *checks.beforehand(divided, grid, planned.out, memory)])
    here = args.launcher.here and not stops
    if divided and here:
        price.check_device(execution.device)
    if divided and not stops:
        checks.check_pictures(grid)
        if there:
            checks.check_unchanged(grid, planned.out)
    cost = estimate.estimate(
        planned.cells,
        divided,
        grid,
        here,
        execution.device,
        execution.pack,
        args.tflops,
        execution.replicas,
        execution.accumulate,
        execution.recompute == "blocks",
    )
    lines = [
        f"{many(len(planned.cells), 'cell')}: {many(len(names), 'formulation')} x {many(len(grid.datasets), 'dataset')} x "
        f"{axes(grid)}, "
        f"in {planned.out}",
        f"  {status.counts(planned)}",
        *([f"confirmation: {planned.chosen.why}"] if planned.chosen else []),
        *open_end(planned, args),
        f"model: {sizes(grid.models)}, patch {grid.model.patch}, text {grid.text}",
        f"training: {listed([each.steps for each in grid.trainings])} steps of {recipe.batch}, "
        f"{f'{recipe.objective}, ' * (recipe.objective != 'flow')}{recipe.optimiser}, "
        f"lr {recipe.lr:g}, {recipe.precision}",
        *networks(planned),
        *compute(planned),
        *before(planned),
        f"evaluation: {evaluation.samples} images x sampler settings {' '.join(s.key for s in evaluation.settings)} x "
        f"{' and '.join(evaluation.weights)} weights, {evaluation.extractor}",
        workers(divided, args),
        *stored(grid),
        *([f"memory: {'it may not fit: ' * memory.doubtful}{memory}"] if memory else []),
        f"cost: {estimate.describe(cost, args.price) if divided or not busy(planned) else 'nothing is left to submit'}",
        *(f"warning: {sentence}" for sentence in config_warnings.warnings(grid)),
        "formulations:",
        *(f"  {name}" for name in names),
    ]
    return "\n".join(lines), stops


def stored(grid: Grid) -> list[str]:
    """The size of latents on disk, that of a caption's states, and of all captions if each image has another one."""
    known = []
    for dataset in grid.datasets:
        builder = data.get(dataset)
        if size := builder.stored_bytes(grid.images):
            shape = "x".join(map(str, builder.shape(grid.images.resolution)))
            known.append(f"{dataset} {estimate.size(size)}, {shape} each")
    sizes = encoders.get(grid.text).text_sizes()
    each = ""
    if sizes:
        most = sizes.bytes * (grid.images.train + grid.images.validation)
        each = f"; a distinct caption at most {estimate.size(sizes.bytes)}, {estimate.size(most)} if all images differ in it"
    return [f"latents: {'; '.join(known)}{each}"] if known else []


def before(planned: Plan) -> list[str]:
    """The stages before the last one, and how many of their cells are trained."""
    lines, changes = [], ["", *(f", which changes {text}" for text in texts(planned.grid))]
    for i, stage in enumerate(planned.grid.earlier):
        cells = [p for p in planned.parents if len(p.cell.ancestors) == i]
        trained, recipe = sum(p.state in plan.ENDED for p in cells), stage.training
        place = f" on {stage.dataset}" if stage.dataset else ""
        early = ", ".join(f"{each:g}" for each in recipe.milestones)
        kept = (
            f"; those of milestones {early} are measured by the command without later stages" if early else ""
        )
        lines.append(
            f"stage {i + 1}{changes[i]}: {recipe.steps} steps of {recipe.batch}{place}, lr {recipe.lr:g}, {trained} of "
            f"{many(len(cells), 'cell')} trained; the next stage begins with their {stage.weights} weights{kept}"
        )
    if lines:
        lines.append(f"stage {len(lines) + 1}{changes[-1]}: the last one, described above and ranked")
    return lines


def open_end(planned: Plan, args: Arguments) -> list[str]:
    """What limits a run whose number of seeds is not fixed, and which formulations are out of a race."""
    if planned.chosen or not (args.minutes or planned.course):
        return []
    course = planned.course
    ends = [f"until decided on {course.decision.metric}"] if course else []
    ends += [f"for {args.minutes:g} minutes"] if args.minutes else []
    out = [f"{e.formulation} is out after {many(e.seeds, 'seed')}" for e in course.exits] if course else []
    return [
        f"seed after seed {', '.join(ends)}, counted and priced here as far as begun",
        *(f"race: {', '.join(out)}" for _ in out[:1]),
    ]


def busy(planned: Plan) -> bool:
    """Whether a worker has cells, or will have."""
    return any(p.state in plan.BUSY for p in planned.cells)


def axes(grid: Grid) -> str:
    """``3 seeds``, those of a confirmation by number, and how many networks, depths and budgets there are if several."""
    first, last = grid.every_seed[0], grid.every_seed[-1]
    text = many(grid.seeds, "seed") + f" ({first} to {last})" * bool(first)
    axes = ((grid.networks, "networks"), (grid.depths, "depths"), (grid.budgets, "budgets"))
    for values, what in axes:
        text += f" x {len(values)} {what}" * bool(values)
    return text


def sizes(models: Sequence[Model]) -> str:
    """Depth, width and heads, of several models each as a list."""
    width, heads = zip(*(model.sizes for model in models), strict=True)
    return f"depth {listed([m.depth for m in models])}, width {listed(width)}, heads {listed(heads)}"


def listed(values: Sequence[int]) -> str:
    """``1, 2, 3``; a value that all share stands once."""
    return ", ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def networks(planned: Plan) -> list[str]:
    """The size and the counts of each network, if there are several."""
    look = by_cell(planned.grid)
    cells = {p.cell.model: p.cell for p in planned.cells} if planned.grid.networks else {}
    return [
        f"  {model.architecture}: {sizes([model])}, {look(cell).shape.parameters():,} parameters, "
        f"{look(cell).steps:.3g} operations a training"
        for model, cell in cells.items()
    ]


def compute(planned: Plan) -> list[str]:
    """The operations of the smallest and the largest training, if they differ by network, size or budget."""
    grid, look = planned.grid, by_cell(planned.grid)
    if not grid.swept:
        return []
    found = sorted(look(p.cell).steps for p in planned.cells)
    return [
        f"compute: {found[0]:.2g} to {found[-1]:.2g} operations a training, a factor of {found[-1] / found[0]:.0f}"
    ]


def workers(divided: Sequence[Sequence[plan.Planned]], args: Arguments) -> str:
    """How the cells would be handed out."""
    sizes = sorted({len(part) for part in divided}) or [0]
    cells_each = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    split = f"{many(len(divided), 'worker')} of {cells_each} cells"
    return f"executor: {args.launcher.name}, {args.launcher.describe(args.execution, len(divided), split)}"
