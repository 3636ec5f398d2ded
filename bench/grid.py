"""``python -m bench.grid``: plan, train, measure, rank. See ``--help``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import cli, plan, store
from bench.config import Grid, full
from samplers.errors import UserError

if TYPE_CHECKING:
    import torch


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if a cell failed, 2 for a user's mistake, 130 if interrupted."""
    try:
        return command(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command again does only what is missing", file=sys.stderr)
        return 130


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args, grid = cli.parse(argv)
    load_plugins(args.plugin)
    out = args.out or Path("runs") / args.preset
    check_folder(out)
    planned = plan.make(grid, out)
    if args.dry_run:
        print(describe(planned, args.pack))
        return 0
    return execute(planned, args)


def load_plugins(files: Sequence[Path]) -> None:
    """Import the user's plugin files."""
    import formulations

    for file in files:
        formulations.load_plugin(file)


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a run."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "grid.json").exists():
        raise UserError(f"--out {out} is not empty and not a run folder: name a new one, for example {out / 'run'}")


def describe(planned: plan.Plan, pack: int) -> str:
    """The plan in words: what would be run, and what is there already."""
    grid, counts = planned.grid, planned.counts()
    recipe, evaluation = grid.training, grid.evaluation
    names = plan.formulations_of(planned)
    width, heads = grid.model.sizes
    lines = [
        f"{len(planned.cells)} cells: {len(names)} formulations x {len(grid.datasets)} datasets x {grid.seeds} seeds, "
        f"in {planned.out}",
        "  " + ", ".join(f"{n} {state}" for state, n in counts.items()) + f"; {len(planned.todo(pack))} packs to run",
        f"model: depth {grid.model.depth}, width {width}, heads {heads}, patch {grid.model.patch}, text {grid.text}",
        f"training: {recipe.steps} steps of {recipe.batch}, lr {recipe.lr:g}, {recipe.precision}",
        f"evaluation: {evaluation.samples} images x {len(evaluation.settings)} sampler settings x "
        f"{' and '.join(evaluation.weights)} weights, {evaluation.grid} grid, {evaluation.extractor}",
        "formulations:",
        *(f"  {name}" for name in names),
    ]
    return "\n".join(lines)


def execute(planned: plan.Plan, args: argparse.Namespace) -> int:
    """Run what is missing and print the ranking."""
    store.prepare(planned.out)
    device = pick_device(args.device)
    check_formulations(planned)
    store.write_json(planned.out / "grid.json", {"grid": full(planned.grid), "command": sys.argv[1:]})
    todo, started = planned.todo(args.pack), time.monotonic()
    if todo:
        run(todo, planned.grid, device, args.compile, planned.out)
        planned = plan.make(planned.grid, planned.out)
    else:
        print("nothing to run: every cell is there already", file=sys.stderr)
    return report(planned, time.monotonic() - started)


def check_formulations(planned: plan.Plan) -> None:
    """Conformance of every formulation, and that none changed under the name of a cell that is there already."""
    import formulations
    from bench import worker

    for name in plan.formulations_of(planned):
        formulations.check(formulations.get(name))
    for p in planned.cells:
        if p.state != "missing":
            worker.verify_formulation(p.folder, formulations.get(p.cell.formulation))


def run(todo: Sequence[Sequence[plan.Planned]], grid: Grid, device: torch.device, compiled: bool, out: Path) -> None:
    """Every pack in turn; a dataset is made ready once."""
    from bench import measure, setup, worker
    from bench.progress import Display

    ready: setup.Setup | None = None
    with Display(len(todo)) as display:
        for i, pack in enumerate(todo):
            cell = pack[0].cell
            if ready is None or ready.data.name != cell.dataset:
                display.say(f"{cell.dataset}: making images and captions ready")
                ready = setup.make(cell.dataset, grid, device)
                for item in ready.data.skipped:
                    display.say(f"skipped {item}")
                save_yardsticks(out, cell.dataset, measure.yardsticks(ready))
            display.begin(i, f"{cell.dataset}, seed {cell.seed}, {len(pack)} formulations on {device}")
            worker.run(pack, ready, grid.evaluation, device, display, compiled)


def save_yardsticks(out: Path, dataset: str, values: dict[str, object]) -> None:
    """Add a dataset's yardsticks to ``yardsticks.json``."""
    path = out / "yardsticks.json"
    kept = store.read_json(path) if path.exists() else {}
    store.write_json(path, kept | {dataset: values})


def report(planned: plan.Plan, seconds: float) -> int:
    """Write the tables and the picture, print the ranking, and say where everything is."""
    from analysis import rank
    from bench import results

    frame = results.collect(planned)
    failed = [p for p in planned.cells if p.state == "failed"]
    for p in failed:
        error = store.read_json(p.folder / "status.json").get("error")
        print(f"failed: {p.cell.formulation} on {p.cell.dataset}, seed {p.cell.seed}: {error}", file=sys.stderr)
    if frame.empty or len(failed) == len(planned.cells):
        return 1
    results.write_frame(frame, planned.out / "results.parquet")
    ranking = rank.rank(frame)
    results.write_frame(ranking, planned.out / "ranking.csv")
    results.sample_sheet(planned, list(ranking["formulation"]), planned.out / "samples.png", captions_of(planned))
    rank.main([str(planned.out)])
    print(f"\n{len(planned.cells)} cells, {seconds:.0f} s. In {planned.out}:")
    print("  results.parquet  ranking.csv  samples.png  yardsticks.json  cells/")
    return 1 if failed else 0


def captions_of(planned: plan.Plan) -> list[str]:
    """The first captions that were sampled, as the first finished cell keeps them."""
    for p in planned.cells:
        if p.state == "done":
            return list(store.read_json(p.folder / planned.grid.evaluation.id / "result.json")["captions"])
    return []


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU if there is one. Raises :class:`UserError` for a device that is not there."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name!r} cannot be used ({reason}): choose 'auto' or 'cpu'") from None
    return device


if __name__ == "__main__":
    sys.exit(main())
