"""Executes a plan in this process: datasets made ready, packs run in turn, tables written, the ranking printed."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

import formulations
from analysis import rank
from bench import measure, plan, results, setup, store, worker
from bench.config import Grid, full, identity
from bench.memory import keep_freed_memory
from bench.progress import Display
from bench.setup import Setup
from samplers.errors import UserError

TABLES = ("results.parquet", "ranking.csv", "samples.png", "yardsticks.json")
"""What a report leaves in the run folder."""


def execute(planned: plan.Plan, device_name: str, pack_size: int, compiled: bool) -> int:
    """Run what is missing and print the ranking; everything is checked before anything is written.

    Returns the exit code: 0, or 1 if a cell failed. Raises :class:`UserError`.
    """
    keep_freed_memory()
    device, started = pick_device(device_name), time.monotonic()
    check_formulations(planned)
    todo = planned.todo(pack_size)
    needed = dict.fromkeys([*(pack[0].cell.dataset for pack in todo), *unmeasured(planned)])
    if not needed:
        print("nothing to run: every cell is there already", file=sys.stderr)
        return report(planned, time.monotonic() - started)
    with Display(len(todo)) as display:
        ready = make_ready(planned, needed, device, display)
        store.prepare(planned.out)
        with store.lock(planned.out):
            store.write_json(planned.out / "grid.json", {"grid": full(planned.grid), "command": sys.argv[1:]})
            save_yardsticks(planned, ready)
            for i, pack in enumerate(todo):
                cell = pack[0].cell
                display.begin(i, f"{cell.dataset}, seed {cell.seed}, {len(pack)} formulations on {device}")
                worker.run(pack, ready[cell.dataset], planned.grid.evaluation, device, display, compiled)
    return report(plan.make(planned.grid, planned.out), time.monotonic() - started)


def check_formulations(planned: plan.Plan) -> None:
    """Conformance of every formulation, and that none changed under the name of a cell that is there already."""
    steps = [steps for steps, _ in planned.grid.evaluation.settings]
    for name in plan.formulations_of(planned):
        formulations.check(formulations.get(name), steps)
    for p in planned.cells:
        if p.state != "missing":
            worker.verify_formulation(p.folder, formulations.get(p.cell.formulation))


def make_ready(
    planned: plan.Plan, datasets: Iterable[str], device: torch.device, display: Display
) -> dict[str, Setup]:
    """Load every dataset that has something to do, so that a mistake in the last one is not found after hours."""
    ready: dict[str, Setup] = {}
    for dataset in datasets:
        display.say(f"{dataset}: making images and captions ready")
        ready[dataset] = setup.make(dataset, planned.grid, device)
        for item in ready[dataset].data.skipped:
            display.say(f"{dataset}: skipped {item}")
    return ready


def save_yardsticks(planned: plan.Plan, ready: Mapping[str, Setup]) -> None:
    """Measure real images of each dataset in the place of generated ones, and keep it beside the cells."""
    path, kept = yardsticks_file(planned), kept_yardsticks(planned)
    store.write_json(path, kept | {dataset: measure.yardsticks(made) for dataset, made in ready.items()})


def kept_yardsticks(planned: plan.Plan) -> dict[str, Any]:
    """The yardsticks that are there, by dataset; an unreadable file counts as none, for it is cheap to make again."""
    try:
        return store.read_object(yardsticks_file(planned))
    except UserError:
        return {}


def unmeasured(planned: plan.Plan) -> list[str]:
    """Datasets of the plan that lack their yardsticks."""
    kept = kept_yardsticks(planned)
    return [
        dataset for dataset in dict.fromkeys(p.cell.dataset for p in planned.cells) if dataset not in kept
    ]


def yardsticks_file(planned: plan.Plan) -> Path:
    """Where yardsticks are kept for the plan's images and evaluation."""
    recipe = identity(Grid(images=planned.grid.images, evaluation=planned.grid.evaluation))
    return planned.out / "yardsticks" / f"{recipe}.json"


def report(planned: plan.Plan, seconds: float) -> int:
    """Write the tables and the picture, print the ranking, and say where everything is."""
    frame = results.collect(planned)
    failed = [p for p in planned.cells if p.state not in ("done", "diverged")]
    for p in failed:
        error = store.read_object(p.folder / "status.json").get("error")
        print(
            f"failed: {p.cell.formulation} on {p.cell.dataset}, seed {p.cell.seed}: {error}", file=sys.stderr
        )
    diverged = [p for p in planned.cells if p.state == "diverged"]
    if len(failed) + len(diverged) == len(planned.cells):
        for name in TABLES:  # those of an earlier command must not stand for this one
            (planned.out / name).unlink(missing_ok=True)
        print(f"no ranking: {len(diverged)} cells diverged and {len(failed)} failed", file=sys.stderr)
        return 1
    results.write_frame(frame, planned.out / "results.parquet")
    store.write_json(planned.out / "yardsticks.json", kept_yardsticks(planned))
    ranking = rank.rank(frame)
    results.write_frame(ranking, planned.out / "ranking.csv")
    results.sample_sheet(
        planned, list(ranking["formulation"]), planned.out / "samples.png", captions_of(planned)
    )
    rank.main([str(planned.out)])
    others = sum(1 for _ in (planned.out / "cells").iterdir()) - len({p.cell.id for p in planned.cells})
    if others:
        print(f"{others} cells of other configurations in {planned.out} are not in these tables")
    print(f"\n{len(planned.cells)} cells, {seconds:.0f} s. In {planned.out}:")
    print("  " + "  ".join([*TABLES, "cells/"]))
    return 1 if failed else 0


def captions_of(planned: plan.Plan) -> list[str]:
    """The first captions that were sampled, as the first finished cell keeps them."""
    for p in planned.cells:
        if p.state == "done":
            return list(store.read_json(p.folder / planned.grid.evaluation.id / "result.json")["captions"])
    return []


def pick_device(name: str) -> torch.device:
    """``auto`` is the first GPU if there is one. Raises :class:`UserError` for a device that is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError(f"{device.type} is no device to train on")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name!r} cannot be used ({reason}): choose 'auto' or 'cpu'") from None
    return device
