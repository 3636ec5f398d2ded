"""Runs a pack of cells: train, then generate and measure. Each stage leaves files, and the next begins from those."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import formulations
from bench import store
from bench.batches import Batches, validation_batch
from bench.config import Evaluation, Setting, full
from bench.generate import control_settings, evaluations, generate, setting_name, start_noise
from bench.measure import measure
from bench.models.flat import Flat
from bench.models.mmdit import MMDiT
from bench.plan import Planned
from bench.provenance import inputs, provenance, verify
from bench.setup import Setup
from bench.stages import Stages
from bench.train import Trained, finite, train
from formulations import Formulation
from samplers.errors import UserError


class Watcher(Protocol):
    """Is told how far a pack is: ``stage`` and a text, and a share of this pack's work between 0 and 1."""

    def __call__(self, stage: str, text: str, share: float) -> None: ...


@dataclass(frozen=True)
class Bench:
    """What packs run on: a device, models compiled or not, who is told of progress, and where time is counted."""

    device: torch.device
    watch: Watcher
    stages: Stages
    compiled: bool = False


def run(pack: Sequence[Planned], setup: Setup, evaluation: Evaluation, bench: Bench) -> None:
    """Bring every cell of a pack to ``done``, ``diverged`` or ``failed``; an exception becomes the cells' status."""
    train_first = pack[0].state != "trained"
    try:
        if train_first:
            for planned in pack:
                known = inputs(setup, formulations.get(planned.cell.formulation))
                store.write_json(planned.folder / "config.json", {"cell": full(planned.cell), **known})
            train_pack(pack, setup, bench)
            train_first = False
        for planned in pack:
            forgive(planned.folder)
        evaluate_pack(pack, setup, evaluation, bench)
    except UserError:
        raise
    except Exception as error:
        if len(pack) == 1:
            fail(pack[0].folder, error, trained=not train_first)
        for planned in pack if len(pack) > 1 else ():  # one by one, so that only the culprit fails
            alone = planned if train_first else replace(planned, state="trained")
            run([alone], setup, evaluation, bench)


def fail(folder: Path, error: Exception, trained: bool) -> None:
    """Note why a cell failed. A trained cell stays trained: only its measuring is done again."""
    store.write_text(folder / "error.txt", traceback.format_exc())
    status = store.read_object(folder / "status.json") if trained else {"state": "failed"}
    store.write_json(folder / "status.json", status | {"error": f"{type(error).__name__}: {error}"})


def forgive(folder: Path) -> None:
    """Forget an earlier failure before trying again."""
    (folder / "error.txt").unlink(missing_ok=True)
    status = store.read_object(folder / "status.json")
    if status.pop("error", None):
        store.write_json(folder / "status.json", status)


def train_pack(pack: Sequence[Planned], setup: Setup, bench: Bench) -> None:
    """Train the cells of a pack together; leaves metrics, weights and status in their folders."""
    cell = pack[0].cell
    recipe, members = cell.training, [formulations.get(p.cell.formulation) for p in pack]
    batches = Batches(setup.data, setup.captions, cell.seed, recipe.batch, recipe.dropout, bench.device)
    held = validation_batch(setup.data, setup.captions, recipe.validation_images, bench.device)
    logs = [(p.folder / "metrics.jsonl").open("w", encoding="utf-8") for p in pack]

    losses: dict[str, float] = {}

    def record(member: int, line: dict[str, Any]) -> None:
        if line["val_loss"] is not None:
            losses[pack[member].cell.formulation] = line["val_loss"]
        logs[member].write(json.dumps(line, allow_nan=False) + "\n")
        logs[member].flush()

    def progress(step: int) -> None:
        if step % 10 == 0 or step == recipe.steps:
            leader = min(losses, key=lambda name: losses[name], default=None)
            lowest = f", lowest validation loss {losses[leader]:.3f} {leader}" if leader else ""
            bench.watch("train", f"step {step} of {recipe.steps}{lowest}", step / recipe.steps)

    started = time.perf_counter()
    try:
        trained = train(
            members,
            setup.shape(cell.model, cell.images.resolution),
            recipe,
            batches,
            held,
            cell.seed,
            record,
            progress,
            bench.compiled,
            bench.stages,
        )
    finally:
        for log in logs:
            log.close()
    facts = {"seconds": round(time.perf_counter() - started, 1), **provenance(bench.device, len(pack))}
    with bench.stages("store"):
        save(pack, trained, facts | {"compiled": bench.compiled})


def save(pack: Sequence[Planned], trained: Trained, facts: dict[str, Any]) -> None:
    """Write each member's weights and status."""
    best, steps, losses = trained.best, trained.best.step.tolist(), trained.best.common.tolist()
    for e, (planned, died) in enumerate(zip(pack, trained.health.diverged_at(), strict=True)):
        if died is None and losses[e] == float("inf"):
            died = planned.cell.training.steps
        for file in store.WEIGHTS:
            (planned.folder / file).unlink(missing_ok=True)
        if died is None:
            for name, weights in (("ema", best.ema), ("raw", best.raw)):
                store.write_tensors(
                    planned.folder / f"{name}.safetensors", trained.flat.member(weights[e].cpu())
                )
        status = {
            "state": "trained" if died is None else "diverged",
            "best_step": steps[e],
            "val_loss": finite(losses[e]),
            "diverged_at_step": died,
            "training": facts,
        }
        store.write_json(planned.folder / "status.json", status)


def evaluate_pack(pack: Sequence[Planned], setup: Setup, evaluation: Evaluation, bench: Bench) -> None:
    """Generate with and measure every cell of the pack that has weights; leaves images and ``result.json``."""
    alive = [p for p in pack if (p.folder / "ema.safetensors").exists()]
    if not alive:
        return
    members = [formulations.get(p.cell.formulation) for p in alive]
    for planned, formulation in zip(alive, members, strict=True):
        verify(planned.folder, setup, formulation)
    started = time.perf_counter()
    found = [Found() for _ in alive]
    # a GPU generates while the processor measures
    with ThreadPoolExecutor(MEASURERS) if bench.device.type == "cuda" else nullcontext() as threads:
        waiting = []
        for name, control, images in generate_all(alive, members, setup, evaluation, bench):
            for kept, pictures in zip(found, images, strict=True):
                task = (kept, name, control, pictures.clone(), setup)
                if threads:
                    waiting.append(threads.submit(take, *task))
                else:
                    with bench.stages("metrics"):
                        take(*task)
        try:
            with bench.stages("metrics"):
                for each in waiting:
                    each.result()
        except BaseException:
            for each in waiting:
                each.cancel()
            raise
    facts = {"seconds": round(time.perf_counter() - started, 1), **provenance(bench.device, len(alive))}
    with bench.stages("store"):
        for planned, kept in zip(alive, found, strict=True):
            save_measured(planned.folder / evaluation.id, kept, setup, evaluation, facts)


MEASURERS = 4
"""Threads that measure what a GPU has generated."""


def take(kept: Found, name: str, control: tuple[str, Setting], pictures: torch.Tensor, setup: Setup) -> None:
    """Measure one setting's ``pictures [n, C, H, W]`` of one cell, and keep them."""
    weights, (steps, cfg) = control
    measured = measure(pictures, setup)
    kept.settings[name] = {"weights": weights, "steps": steps, "cfg": cfg, **measured.values}
    kept.images[name] = pictures
    for key, values in measured.per_sample.items():
        kept.per_sample[f"{name}/{key}"] = torch.from_numpy(values.astype(np.float32))


def save_measured(
    folder: Path, kept: Found, setup: Setup, evaluation: Evaluation, facts: dict[str, Any]
) -> None:
    """Write one cell's images and measurements."""
    store.write_tensors(folder / "images.safetensors", kept.images)
    store.write_tensors(folder / "per_sample.safetensors", kept.per_sample)
    result = {
        "evaluation": full(evaluation),
        "captions": list(setup.chosen[:16]),
        "names": setup.names(),
        "settings": kept.settings,
        "measuring": facts,
    }
    store.write_json(folder / "result.json", result)


@dataclass
class Found:
    """What is collected of one cell while its settings are measured, by name of the setting."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, torch.Tensor] = field(default_factory=dict)
    per_sample: dict[str, torch.Tensor] = field(default_factory=dict)


def generate_all(
    pack: Sequence[Planned],
    members: Sequence[Formulation],
    setup: Setup,
    evaluation: Evaluation,
    bench: Bench,
) -> Iterator[tuple[str, tuple[str, Setting], torch.Tensor]]:
    """Yield (name, control setting, uint8 images ``[E, n, C, H, W]``) for every control setting of the evaluation."""
    cell, device = pack[0].cell, bench.device
    with bench.stages("generate"):
        model = MMDiT(setup.shape(cell.model, cell.images.resolution), len(pack)).to(device)
        flat = Flat(model)
        rows = setup.captions.rows(setup.chosen)
        noise = start_noise(setup.data.name, len(rows), setup.data.train.images.shape[1:])
    settings = control_settings(evaluation)
    work, done = sum(steps * evaluations(cfg) for _, (steps, cfg) in settings) * len(rows), 0
    for weights, setting in settings:
        name, parts = setting_name(weights, setting), []
        with bench.stages("generate"):
            files = [store.read_tensors(p.folder / f"{weights}.safetensors") for p in pack]
            matrix = torch.stack([flat.row(named) for named in files]).to(device)
            recipe = (evaluation.grid, cell.training.precision)
            for part in generate(model, flat, matrix, members, setup.captions, rows, noise, setting, *recipe):
                parts.append(setup.data.denormalize(part).cpu())
                done += part.shape[1] * setting[0] * evaluations(setting[1])
                bench.watch("evaluate", f"{name}, {len(rows)} images", done / work)
        yield name, (weights, setting), torch.cat(parts, dim=1)
