"""``python -m bench.speed.device_rates DEVICE``: operations a second of training and sampling here, measured.

Shapes, recipes, numbers of members, large encoders, and plugins come as JSON on the standard input; the rates of each and
the seconds of an image and a caption go as JSON to the standard output. Measurements are kept with those of
:mod:`bench.training.tuning`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from bench.config.experiment import Training
from bench.config.identity import identity, restore
from bench.data.images import cache_folder
from bench.encoders import extractor, text_encoder
from bench.machine.clock import Timed, alternate, seconds, timed
from bench.machine.device import device_name, keep_freed_memory, pick_device, versions
from bench.machine.kept_timings import Timings
from bench.machine.matmul import fast_products
from bench.machine.threads import Threads
from bench.models.flat import Flat
from bench.models.shape import Shape
from bench.training.batches import chunk
from bench.training.coefficients import predict
from bench.training.tuning import Tuner, inputs
from flowbench._core.command import outcome
from flowbench._core.plugin import load_plugin

LIMIT = {"cpu": 5e10, "cuda": 2e13}
"""Operations of a timed step at most: a part of a second."""
FEW = 8
"""Images or captions of a timing."""


def measure() -> int:
    """Measure and print; returns the exit code."""
    device = pick_device(sys.argv[1])
    keep_freed_memory()
    fast_products(device)
    torch.set_num_threads(Threads(device).usable())
    given = json.load(sys.stdin)
    for file in given["plugins"]:
        load_plugin(file)
    found = [
        rates(restore(Shape, work["shape"]), restore(Training, work["training"]), device, work["members"])
        for work in given["models"]
    ]
    resolution = given["resolution"]
    image = timed_encoder(given["extractor"], resolution, device, of_images)
    caption = timed_encoder(given["text"], resolution, device, of_captions)
    answer = {"rates": found, "extraction": image, "encoding": caption}
    print(json.dumps({"device": device_name(device), **answer}))
    return 0


@dataclass(frozen=True)
class Encoding:
    """One kind of encoding: what is measured depends on nothing else."""

    what: str
    spec: str
    resolution: int
    device: str
    threads: int
    torch: str
    python: str


def timed_encoder(
    spec: str | None,
    resolution: int,
    device: torch.device,
    made: Callable[[str, int, str], Callable[[], object]],
) -> float | None:
    """Seconds that an encoder takes for each of a few images or captions; None without one."""
    if spec is None:
        return None
    work = Encoding(
        made.__name__, spec, resolution, device_name(device), torch.get_num_threads(), **versions()
    )
    timings = Timings(cache_folder(None) / "steps" / f"{identity(work)}.json", asdict(work))
    if known := timings.recall("one", 1):
        return known[0]
    call = made(spec, resolution, str(device))
    call()  # chooses kernels
    found = timed(tuple(seconds(call) for _ in range(3)))
    return timings.remember("one", (found.seconds / FEW,), found.spread)[0]


def of_images(spec: str, resolution: int, device: str) -> Callable[[], object]:
    """Features of a few images."""
    model = extractor(spec, device)
    return partial(model.image_features, torch.zeros(FEW, 3, resolution, resolution, dtype=torch.uint8))


def of_captions(spec: str, resolution: int, device: str) -> Callable[[], object]:
    """Tokens of a few captions."""
    model = text_encoder(spec, device)
    return partial(model.encode_text, ["a red square above a small blue circle"] * FEW)


def rates(shape: Shape, recipe: Training, device: torch.device, members: int) -> dict[str, float]:
    """Operations a second of training with at most so many members, and of sampling."""
    limit, one = LIMIT.get(device.type, LIMIT["cpu"]), shape.flops()
    batch = max(1, min(recipe.batch, int(limit / (3 * one))))
    # too short a training to time packs for: as many members as memory allows
    tuner = Tuner(shape, replace(recipe, batch=batch, steps=1), device)
    members, _ = tuner.pack(max(1, min(members, int(limit / (3 * one * batch)))))
    if chosen := tuner.timings.recall(f"pack-{members}", 2):
        members = int(chosen[0])
    step = tuner.eager(members)
    samples = max(1, min(chunk(device, members), int(limit / (3 * one * members))))
    key = f"samples-{members}-{samples}"
    if not (found := tuner.timings.recall(key, 1)):
        took = sampled(shape, recipe, device, members, samples)
        found = tuner.timings.remember(key, (took.seconds,), took.spread)
    return {
        "members": members,
        "training": members * 3 * one * batch / step,
        "evaluation": members * one * samples / found[0],
    }


@torch.no_grad()
def sampled(shape: Shape, recipe: Training, device: torch.device, members: int, samples: int) -> Timed:
    """Seconds of one evaluation of the network for so many samples of each member."""
    model = shape.build(members)
    model.initialise(torch.Generator().manual_seed(0))
    Flat(model.to(device))  # lays the parameters out as sampling does
    batch, c = inputs(shape, members, samples, device)
    x = batch.x.expand(members, *batch.x.shape)

    def once() -> None:
        predict(model, x, c, batch.tokens, batch.pooled, recipe.precision)

    return alternate(once)[0]


if __name__ == "__main__":
    sys.exit(outcome(measure))
