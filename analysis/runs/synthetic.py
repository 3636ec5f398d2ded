"""Run folders with known truth: made-up cells written as `bench` writes them, for benchmarks, tests and simulations.

The numbers come from a two-way model: each formulation has a quality ``q_f``, each seed an effect shared by all, each
cell noise of its own that all its settings share in part. Nothing in such a folder was trained, and its dataset is
called ``synthetic``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config.identity import canonical
from bench.config.sampling_settings import ControlSetting, Setting
from bench.metrics.run_metrics import columns
from bench.runfolder.manifest import FILES, PROGRAM, Manifest, PlannedCell, Recipe

STUDY = ((50, 1.0), (50, 2.5), (50, 5.0), (5, 5.0), (10, 5.0), (25, 5.0))
"""The study's six sampler settings."""
EVALUATION, SAMPLING = "synthetic000", "synthetic001"
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "star", "ring")


@dataclass(frozen=True)
class Truth:
    """What a synthetic run is made from. ``quality`` of each formulation is in units of ``noise``'s scale: CLIP is
    ``40 + 3 q``, log FID ``3.2 - 0.15 q``, log validation loss ``-1 - 0.03 q``, each with deviations ``noise`` times
    3, 0.15 and 0.03; ``correlation`` is the share of the noise's variance that all formulations of a seed have in
    common."""

    formulations: tuple[str, ...]
    quality: tuple[float, ...]
    noise: float = 0.3
    correlation: float = 0.5
    seed: int = 0


def truth(formulations: Sequence[str], spread: float = 1.0, **options: Any) -> Truth:
    """Qualities drawn from a normal law of deviation ``spread``."""
    rng = np.random.default_rng(options.get("seed", 0))
    return Truth(tuple(formulations), tuple(spread * rng.normal(size=len(formulations))), **options)


def write(
    folder: Path,
    model: Truth,
    *,
    datasets: Sequence[str] = ("synthetic",),
    seeds: int = 3,
    weights: Sequence[str] = ("ema", "raw"),
    settings: Sequence[tuple[Any, ...]] = STUDY,
    samples: int = 64,
    pictures: int = 0,
    sizes: Sequence[tuple[int, int]] = ((4, 20_000),),
    first_seed: int = 0,
    status: Any = None,
) -> Path:
    """Write a run folder; ``sizes`` are pairs (depth, training steps), crossed with everything, ``pictures`` how many
    images of 16 x 16 a setting has, and ``status(formulation, dataset, seed)`` may return ``diverged``, ``failed`` or
    ``pending`` instead of None. ``first_seed`` 1000 adds a confirmation. Returns
    ``folder``."""
    cells, recipes = list[PlannedCell](), list[Recipe]()
    controls = [ControlSetting(*setting, weights=kind) for kind in weights for setting in settings]
    for dataset, (depth, steps) in itertools.product(datasets, sizes):
        parameters = 147_456 * depth**3
        recipe = {"model": {"depth": depth}, "training": {"steps": steps, "batch": 64}, "text": "synthetic"}
        recipe |= {"evaluation": {"samples": samples, "extractor": "synthetic"}}
        recipes.append(Recipe(canonical(recipe), parameters, 6.0 * parameters * 28 * 64 * steps))
        for seed, name in itertools.product(range(first_seed, first_seed + seeds), model.formulations):
            text = json.dumps([name, dataset, seed, depth, steps])
            made = hashlib.sha256(text.encode()).hexdigest()[:12]
            cells.append(PlannedCell(made, name, dataset, seed, len(recipes) - 1))
    kept = {"weights": list(weights), "settings": [asdict(Setting(*s)) for s in settings]}
    plan = Manifest(
        phase="confirm" if first_seed else "rank",
        program=PROGRAM,
        command=("--synthetic",),
        grid={"evaluation": kept},
        evaluation=EVALUATION,
        sampling=SAMPLING,
        metrics=tuple(asdict(metric) for metric in columns()),
        recipes=tuple(recipes),
        parts={name: (name, None) for name in model.formulations},
        cells=tuple(cells),
        chosen={"why": "made up", "seeds": list(range(seeds))} if first_seed else {},
    )
    _json(folder / FILES[plan.phase], plan.json())
    for cell in cells:
        what = status(cell.formulation, cell.dataset, cell.seed) if status else None
        size = json.loads(recipes[cell.recipe].text)
        _cell(folder / "cells" / cell.id, model, cell, size, controls, samples, pictures, what)
    return folder


TRAINING = {
    "seconds": 60.0,
    "device": "none",
    "torch": "none",
    "python": "none",
    "pack": 1,
    "code": "synthetic",
    "finished": "2026-01-01T00:00:00Z",
    "compiled": False,
}
FAILURE = {"kind": "RuntimeError", "message": "RuntimeError: made up", "cause": "00000000"}


def _cell(
    home: Path,
    model: Truth,
    cell: PlannedCell,
    recipe: dict[str, Any],
    controls: Sequence[ControlSetting],
    samples: int,
    pictures: int,
    what: str | None,
) -> None:
    """One cell's files."""
    profile = {"formula": f"made up: {cell.formulation}", "density": [1.0] * 64, "budget": [1.0] * 64}
    clock = {"clock": [(i + 0.5) / 64 for i in range(64)]}
    _json(home / "config.json", {"cell": cell.json(), "profile": profile | clock})
    if what == "pending":
        return
    if what in ("diverged", "failed"):
        error = {"error": FAILURE, "evaluation": EVALUATION} if what == "failed" else {}
        status = {"state": what, "diverged_at_step": 7, "training": TRAINING}
        _json(home / "status.json", status | error)
        return
    q, rng = _quality(model, cell)
    depth, steps = recipe["model"]["depth"], recipe["training"]["steps"]
    shared = q[0] + 0.4 * math.log(depth / 4) + 0.2 * math.log(steps / 20_000)
    loss = 0.2 + 0.35 * math.exp(-1 - 0.03 * q[2]) * (depth**3 * steps / 1.28e6) ** -0.08
    _curve(home / "metrics.jsonl", loss, steps)
    trained = {"state": "trained", "best_step": steps, "val_loss": loss, "training": TRAINING}
    _json(home / "status.json", trained)
    result, tensors = {}, dict[str, NDArray[Any]]()
    for control in controls:
        name, few = control.name, 1.5 / control.steps
        own = rng.normal(size=2) * 0.3 * model.noise
        clip = 40 + 3 * (shared + own[0]) + 2 * math.log(1 + control.cfg) - 12 * few
        fid = math.exp(3.2 - 0.15 * (q[1] + own[1]) + few + 0.1 * (control.weights == "raw"))
        spread = np.random.default_rng(control.steps).normal(size=samples)
        tensors[f"{name}/clip"] = clip + 4 * (spread - spread.mean())
        tensors[f"{name}/fid"] = fid * (spread - spread.mean())
        tensors[f"{name}/path_length"] = np.full(samples, 190.0 - depth)
        result[name] = asdict(control) | {"clip": clip, "fid": fid, "kid": fid / 500, "kid_stderr": 0.001}
        result[name] |= {"path_length": 190.0 - depth, "composition": 1 / (1 + math.exp(-shared))}
        if pictures:
            drawn = {"images": _pictures(rng, pictures, fid)}
            _tensors(home / f"images-{SAMPLING}" / f"{name}.safetensors", drawn)
    values = {k: v.astype(np.float32) for k, v in tensors.items()}
    _tensors(home / EVALUATION / "per_sample.safetensors", values)
    captions = [f"a {COLOURS[i % 4]} {SHAPES[i // 4 % 4]}" for i in range(16)]
    names = {f"{m}_name": f"{m}[synthetic,none,n={samples}]" for m in ("clip", "fid", "kid")}
    found = {"captions": captions, "names": names, "settings": result, "measuring": TRAINING}
    _json(home / EVALUATION / "result.json", found)


def _quality(model: Truth, cell: PlannedCell) -> tuple[NDArray[np.float64], np.random.Generator]:
    """The cell's quality for CLIP, FID and validation loss, with the noise of its seed and its own; and its generator."""

    def generator(*parts: Any) -> np.random.Generator:
        digest = hashlib.sha256(json.dumps([model.seed, *parts]).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    rng = generator(cell.formulation, cell.dataset, cell.seed, cell.id)
    common = generator("seed", cell.dataset, cell.seed).normal(size=3)
    own = rng.normal(size=3)
    mixed = math.sqrt(model.correlation) * common + math.sqrt(1 - model.correlation) * own
    return model.quality[model.formulations.index(cell.formulation)] + model.noise * mixed, rng


def _curve(file: Path, loss: float, steps: int) -> None:
    lines = []
    for i in range(1, 11):
        here = loss * (1 + 0.6 / i)
        levels = [here * (0.5 + k / 7) for k in range(8)]
        lines.append(
            {"step": steps * i // 10, "seconds": 6.0 * i, "train_loss": here, "val_loss": here}
            | {"val_native": levels, "val_common": levels, "alive": True}
        )
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _pictures(rng: np.random.Generator, count: int, fid: float) -> NDArray[np.uint8]:
    """Coloured discs, the noisier the larger ``fid``."""
    y, x = np.mgrid[:16, :16] - 7.5
    inside = (x**2 + y**2 < 30)[None, None]
    colour = np.array([[220, 40, 40], [40, 180, 60], [60, 80, 220], [230, 210, 50]])[np.arange(count) % 4]
    clean = np.where(inside, colour[:, :, None, None], 235)
    return np.clip(clean + rng.normal(size=clean.shape) * fid, 0, 255).astype(np.uint8)


def _json(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value), encoding="utf-8")


def _tensors(file: Path, tensors: dict[str, NDArray[Any]]) -> None:
    from safetensors.numpy import save_file

    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(file))
