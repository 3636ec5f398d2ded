"""``python -m bench.grid``: plan, train, measure, rank. See ``--help``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import formulations
from bench import cli, plan
from samplers.errors import UserError

STARTED = time.perf_counter()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if a cell failed, 2 for a user's mistake, 130 if interrupted."""
    interrupted = "interrupted: the same command again does only what is missing"
    return cli.outcome(lambda: command(argv), interrupted)


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args, grid = cli.parse(argv)
    load_plugins(args.plugin)
    out = args.out or Path("runs") / args.preset
    check_folder(out)
    planned = plan.make(grid, out)
    if args.dry_run:
        print(describe(planned))
        return 0
    from bench.run import execute  # imports torch, which a plan does not need

    return execute(planned, args.device, args.pack, args.compile, STARTED)


def load_plugins(files: Sequence[Path]) -> None:
    """Import the user's plugin files."""
    for file in files:
        formulations.load_plugin(file)


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a run."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "grid.json").exists():
        raise UserError(
            f"--out {out} is not empty and not a run folder: name a new one, for example {out / 'run'}"
        )


def describe(planned: plan.Plan) -> str:
    """The plan in words: what would be run, and what is there already."""
    grid, counts = planned.grid, planned.counts()
    recipe, evaluation = grid.training, grid.evaluation
    names = plan.formulations_of(planned)
    width, heads = grid.model.sizes
    lines = [
        f"{len(planned.cells)} cells: {len(names)} formulations x {len(grid.datasets)} datasets x {grid.seeds} seeds, "
        f"in {planned.out}",
        "  "
        + ", ".join(f"{n} {state}" for state, n in counts.items())
        + f"; {len(planned.groups())} groups of cells that can share a graph",
        f"model: depth {grid.model.depth}, width {width}, heads {heads}, patch {grid.model.patch}, text {grid.text}",
        f"training: {recipe.steps} steps of {recipe.batch}, lr {recipe.lr:g}, {recipe.precision}",
        f"evaluation: {evaluation.samples} images x {len(evaluation.settings)} sampler settings x "
        f"{' and '.join(evaluation.weights)} weights, {evaluation.grid} grid, {evaluation.extractor}",
        "formulations:",
        *(f"  {name}" for name in names),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
