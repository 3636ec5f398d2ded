"""Runs a pack of cells: train, generate, measure. Each stage leaves files, and the next begins from those.

A pack is a convenience: its cells have folders, logs, states of their own, and one that fails or diverges leaves the
others as they are.
"""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import formulations
from bench import solvers
from bench.config.experiment import Evaluation
from bench.config.identity import full
from bench.config.sampling_settings import ControlSetting
from bench.machine.device import check_device
from bench.planning.plan import Planned
from bench.runfolder import cell_folder, store
from bench.runfolder.cell_folder import Changed
from bench.runfolder.failure import Failure
from bench.sampling.generate import Sampled
from bench.tracking import Tracked
from bench.training import checkpoint
from bench.training.loss_profile import profile
from bench.training.members import finite
from bench.training.train import Trained, train
from bench.training.untrained import untrained_losses
from bench.worker import parents
from bench.worker.control import Bench, Control
from bench.worker.generated_images import Lost, Pictures
from bench.worker.measure import measure
from bench.worker.provenance import inputs, provenance, verify, verify_unfinished
from bench.worker.setup import Setup
from flowbench._core import atomic
from flowbench._core.terminal import many


def run(pack: Sequence[Planned], setup: Setup, evaluation: Evaluation, bench: Bench) -> None:
    """Bring every cell of a pack to ``done``, ``diverged`` or ``failed``; an exception becomes the cells' status.

    Raises :class:`Changed` for a cell that was made by something else, :class:`flowbench._core.atomic.Unwritable`, and
    :class:`bench.training.checkpoint.Stopped` once everything is saved.
    """
    again = attempt(pack, setup, evaluation, bench)
    for part in again:  # here, where no traceback holds the memory of the pack any more
        if not bench.control.holds(part[0].cell):
            run(part, setup, evaluation, bench)


def attempt(
    pack: Sequence[Planned], setup: Setup, evaluation: Evaluation, bench: Bench
) -> list[list[Planned]]:
    """Do it once; returns the packs in which the cells are to be tried again."""
    train_first = pack[0].state != "trained"
    try:
        if train_first:
            begin(pack, setup, bench)
            train_pack(pack, setup, bench)
            train_first = False
        for planned in pack:
            store.delete_checkpoints(planned.folder)
        if not pack[0].parent:
            evaluate_pack(pack, setup, evaluation, bench)
    except Lost as lost:
        which = (
            f"{lost.planned.cell.formulation} on {lost.planned.cell.dataset}, seed {lost.planned.cell.seed}"
        )
        bench.control.say(f"{which} is trained again: {lost}")
        cell_folder.forget(lost.planned.folder)
        others = [replace(p, state="trained") for p in pack if p is not lost.planned]
        return [*([others] if others else []), [replace(lost.planned, state="missing")]]
    except (Changed, atomic.Unwritable):
        raise
    except Exception as error:
        check_device(bench.device)  # after some errors a GPU does nothing more in this process
        if len(pack) > 1:  # one by one, so that only the culprit fails
            return [[planned if train_first else replace(planned, state="trained")] for planned in pack]
        fail(pack[0], error, evaluation, bench.control)
    return []


def fail(planned: Planned, error: Exception, evaluation: Evaluation, control: Control) -> None:
    """Note why a cell failed."""
    failure = Failure.of(error)
    control.guard([planned.folder])
    cell_folder.fail(planned.folder, failure, traceback.format_exc(), evaluation.id)
    control.failed(planned.cell.id, failure.cause)


def begin(pack: Sequence[Planned], setup: Setup, bench: Bench) -> None:
    """Write what goes into each cell; a training that was interrupted must have been begun with the same.

    Raises :class:`Changed` otherwise.
    """
    bench.control.guard([p.folder for p in pack])
    for planned in pack:
        if store.checkpoint_steps(planned.folder):
            parents.verify(planned)
            try:
                verify_unfinished(planned.folder, setup, planned.cell)
            except atomic.Damaged as error:
                bench.control.say(f"trained from the start: {error}")
                store.delete_checkpoints(planned.folder)
    for planned in pack:
        formulation = formulations.get(planned.cell.formulation)
        known = {**inputs(setup, planned.cell), **parents.inputs(planned), "profile": profile(formulation)}
        atomic.write_json(planned.folder / "config.json", {"cell": full(planned.cell), **known})


def train_pack(pack: Sequence[Planned], setup: Setup, bench: Bench) -> None:
    """Train the cells of a pack together; leaves metrics, weights and status in their folders."""
    cell, control, folders = pack[0].cell, bench.control, [p.folder for p in pack]
    recipe, members = cell.training, [formulations.get(p.cell.formulation) for p in pack]
    held = setup.held(cell, bench.device)
    losses: dict[str, float] = {}

    def record(member: int, lines: list[dict[str, Any]]) -> None:
        if lines and lines[-1]["val_loss"] is not None:
            losses[pack[member].cell.formulation] = lines[-1]["val_loss"]
        control.guard(folders[member : member + 1])
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
        atomic.write_text(folders[member] / "metrics.jsonl", text)
        live.validated(member, lines)

    def keep(member: int, name: str, weights: dict[str, torch.Tensor]) -> None:
        control.guard(folders[member : member + 1])
        atomic.write_tensors(store.weights_file(folders[member], name), weights)

    def progress(step: int) -> None:
        if step % 10 == 0 or step == recipe.steps:
            leader = min(losses, key=lambda name: losses[name], default=None)
            lowest = f", lowest validation loss {losses[leader]:.3f} {leader}" if leader else ""
            bench.watch("train", f"step {step} of {recipe.steps}{lowest}", step / recipe.steps, step, "step")

    def say(text: str) -> None:
        control.say(text)
        for folder in folders:
            cell_folder.note(folder, text)

    ids = [p.cell.id for p in pack]
    live = tracked(pack, control, max(checkpoint.common_steps(folders), default=0))
    for folder in folders:
        cell_folder.note(folder, f"training {many(len(pack), 'cell')} in one graph on {bench.device}")
    start = parents.weights(pack)
    with live, bench.replicas(ids, bench.compiled) as replicas:
        checkpointer = checkpoint.Checkpointer(
            folders,
            control.checkpoint,
            lambda: replicas.agree(control.stop()),
            lambda: control.guard(folders),
            say,
            ids,
            control.threads,
            replicas.keepers,
        )
        trained = train(
            members,
            setup.shape(cell.model),
            recipe,
            setup.batches(cell, bench.device, replicas),
            held,
            cell.seed,
            record,
            progress,
            bench.compiled,
            bench.stages,
            checkpointer,
            start,
            bench.accumulate,
            bench.recompute,
            bench.probes,
            keep,
        )
    facts = {"seconds": round(checkpointer.elapsed(), 1), **provenance(bench.device, len(pack))}
    with bench.stages("store"):
        control.guard(folders)
        facts |= {"compiled": bench.compiled, "replicas": replicas.count, "divided": replicas.divided}
        facts |= {"accumulate": bench.accumulate, "recompute": bench.recompute}
        facts |= {"code": control.code, **control.cores()}
        save(pack, trained, untrained_losses(members, held), facts)


def tracked(pack: Sequence[Planned], control: Control, step: int) -> Tracked:
    """The live logs of a pack from a step on."""
    return Tracked(control.track, [p.cell for p in pack], pack[0].folder.parents[1], step, control.say)


def save(
    pack: Sequence[Planned], trained: Trained, untrained: Sequence[float], facts: dict[str, Any]
) -> None:
    """Write each member's weights and status, with its loss ``untrained``; what was measured of other weights goes, and of a
    member that diverged its milestones."""
    best, steps, losses = trained.best, trained.best.step.tolist(), trained.best.common.tolist()
    ends = [
        p.cell.training.steps if died is None and loss == float("inf") else died
        for p, died, loss in zip(pack, trained.health.diverged_at(), losses, strict=True)
    ]
    for e, planned in enumerate(pack):
        cell_folder.forget(planned.folder, milestones=ends[e] is not None)
        for name, weights in (("ema", best.ema), ("raw", best.raw)) if ends[e] is None else ():
            parameters = trained.flat.whole.member(weights[e].cpu())
            atomic.write_tensors(store.weights_file(planned.folder, name), parameters)
    for e, (planned, died) in enumerate(zip(pack, ends, strict=True)):  # the cells of a pack end together
        status = {
            "state": "trained" if died is None else "diverged",
            "best_step": steps[e],
            "val_loss": finite(losses[e]),
            "untrained_loss": finite(untrained[e]),
            "diverged_at_step": died,
            "training": facts,
        }
        atomic.write_json(planned.folder / "status.json", status)
        cell_folder.note(planned.folder, "trained" if died is None else f"diverged at step {died}")


def evaluate_pack(pack: Sequence[Planned], setup: Setup, evaluation: Evaluation, bench: Bench) -> None:
    """Generate with and measure every cell of the pack that has weights; leaves images and ``result.json``."""
    alive = [p for p in pack if (p.folder / "ema.safetensors").exists()]
    if not alive:
        return
    members = [formulations.get(p.cell.formulation) for p in alive]
    for planned in alive:
        verify(planned.folder, setup, planned.cell)
        parents.verify(planned)
    bench.control.guard([p.folder for p in alive])
    started = time.perf_counter()
    found = [Found() for _ in alive]
    # a GPU generates while the processor measures
    with ThreadPoolExecutor(MEASURERS) if bench.device.type == "cuda" else nullcontext() as threads:
        waiting = []
        try:
            for control, samples in Pictures(alive, members, setup, evaluation, bench):
                for kept, *parts in zip(found, *samples, strict=True):
                    task = (kept, control, Sampled(*parts), setup)
                    if threads:
                        waiting.append(threads.submit(take, *task))
                    else:
                        with bench.stages("metrics"):
                            take(*task)
            with bench.stages("metrics"):
                for each in waiting:
                    each.result()
        except BaseException:
            for each in waiting:
                each.cancel()
            raise
    facts = {"seconds": round(time.perf_counter() - started, 1), **provenance(bench.device, len(alive))}
    with bench.stages("store"):
        bench.control.guard([p.folder for p in alive])
        for planned, kept in zip(alive, found, strict=True):
            save_measured(planned.folder / evaluation.id, kept, setup, evaluation, facts)
            cell_folder.note(planned.folder, "measured")
    with tracked(alive, bench.control, alive[0].cell.training.steps) as live:
        for member, kept in enumerate(found):
            live.measured(member, kept.settings)


MEASURERS = 4
"""Threads that measure what a GPU has generated."""


@dataclass
class Found:
    """What is collected of one cell while its settings are measured, by name of the setting."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    per_sample: dict[str, torch.Tensor] = field(default_factory=dict)


def take(kept: Found, control: ControlSetting, samples: Sampled, setup: Setup) -> None:
    """Measure the samples of one cell by one setting: uint8 images ``[n, C, H, W]``, path lengths ``[n]``."""
    measured = measure(samples.images, setup, path_length=samples.path_length)
    kept.settings[control.name] = asdict(control) | measured.values
    for key, values in measured.per_sample.items():
        kept.per_sample[f"{control.name}/{key}"] = torch.from_numpy(values.astype(np.float32))


def save_measured(
    folder: Path, kept: Found, setup: Setup, evaluation: Evaluation, facts: dict[str, Any]
) -> None:
    """Write one cell's measurements."""
    atomic.write_tensors(folder / "per_sample.safetensors", kept.per_sample)
    result = {
        "evaluation": full(evaluation),
        "captions": list(setup.chosen[:16]),
        "names": setup.names(),
        "settings": kept.settings,
        "solvers": solvers.texts(s.solver for s in evaluation.settings),
        "measuring": facts,
    }
    atomic.write_json(folder / "result.json", result)
