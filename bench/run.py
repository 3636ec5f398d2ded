"""Executes a plan in this process: datasets made ready, packs run in turn, tables written, the ranking printed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

import formulations
from analysis import rank
from bench import measure, plan, results, setup, store, tuning, worker
from bench.config import Grid, full, identity
from bench.memory import keep_freed_memory
from bench.models.shape import Shape
from bench.products import fast_products
from bench.progress import Display
from bench.provenance import verify_formulation
from bench.setup import Setup
from bench.stages import Stages
from samplers.errors import UserError

TABLES = ("results.parquet", "ranking.csv", "samples.png", "yardsticks.json")
"""What a report leaves in the run folder."""


def execute(
    planned: plan.Plan, device_name: str, pack: int | None, compiled: tuning.Choice, started: float
) -> int:
    """Run what is missing and print the ranking; everything is checked before anything is written.

    ``pack`` None is ``auto``; ``started`` is when the command began, by ``time.perf_counter``.
    Returns the exit code: 0, or 1 if a cell failed. Raises :class:`UserError`.
    """
    keep_freed_memory()
    device, stages = pick_device(device_name), Stages(started)
    tuning.check(compiled, device)
    fast_products(device)
    check_formulations(planned)
    groups = planned.groups()
    needed = dict.fromkeys([*(group[0].cell.dataset for group in groups), *unmeasured(planned)])
    if not needed:
        print("nothing to run: every cell is there already", file=sys.stderr)
        return report(planned, None)
    with Display() as display:
        ready = make_ready(planned, needed, device, display)
        store.prepare(planned.out)
        with store.lock(planned.out):
            store.write_json(planned.out / "grid.json", {"grid": full(planned.grid), "command": sys.argv[1:]})
            chosen = tune(groups, ready, device, pack, compiled, stages)
            for sentence in chosen.said:
                display.say(sentence)
            with stages("metrics"):
                save_yardsticks(planned, ready)
            stages.started_up()
            bench = worker.Bench(device, display, stages, chosen.compiled)
            todo = planned.todo(chosen.pack)
            for i, cells in enumerate(todo):
                first = cells[0].cell
                what = f"{first.dataset}, seed {first.seed}, {len(cells)} formulations on {device}"
                display.begin(i, len(todo), what)
                worker.run(cells, ready[first.dataset], planned.grid.evaluation, bench)
    return report(plan.make(planned.grid, planned.out), stages)


def tune(
    groups: Sequence[Sequence[plan.Planned]],
    ready: Mapping[str, Setup],
    device: torch.device,
    pack: int | None,
    compiled: tuning.Choice,
    stages: Stages,
) -> tuning.Tuning:
    """How to train the groups, by measuring steps of the largest; those that only lack measuring go as they are."""
    training = [group for group in groups if group[0].state != "trained"]
    if not training:
        return tuning.Tuning(pack or max((len(group) for group in groups), default=1), False, ())

    def shape_of(group: Sequence[plan.Planned]) -> Shape:
        cell = group[0].cell
        return ready[cell.dataset].shape(cell.model, cell.images.resolution)

    largest = max(training, key=lambda group: (len(group), shape_of(group).activations()))
    cell, shape = largest[0].cell, shape_of(largest)
    with stages("compile"):
        cells = sum(len(group) for group in training)
        return tuning.choose(shape, cell.training, device, cells, len(largest), pack, compiled)


def check_formulations(planned: plan.Plan) -> None:
    """Conformance of every formulation, and that none changed under the name of a cell that is there already."""
    steps = [steps for steps, _ in planned.grid.evaluation.settings]
    for name in plan.formulations_of(planned):
        formulations.check(formulations.get(name), steps)
    for p in planned.cells:
        if p.state != "missing":
            verify_formulation(p.folder, formulations.get(p.cell.formulation))


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


def report(planned: plan.Plan, stages: Stages | None) -> int:
    """Write the tables and the picture, print the ranking, and say where everything is and where the time went.

    ``stages`` None: nothing was run, and the timings of the run that did it stay.
    """
    with stages("store") if stages else nullcontext():
        code = tables(planned)
    spent = ""
    if stages:
        seconds = stages.report()
        store.write_json(planned.out / "timings.json", seconds)
        spent = f", {seconds['total']:.0f} s ({stages})"
    there = [name for name in (*TABLES, "timings.json") if (planned.out / name).exists()]
    print(f"\n{len(planned.cells)} cells{spent}. In {planned.out}:")
    print("  " + "  ".join([*there, "cells/"]))
    return code


def tables(planned: plan.Plan) -> int:
    """Write the tables and the picture, and print the ranking; returns the exit code."""
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
        if device.type == "cuda":
            torch.cuda.set_device(device)  # streams and graphs belong to the current device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--device {name!r} cannot be used ({reason}): choose 'auto' or 'cpu'") from None
    return device
