"""``python -m bench.rates DEVICE``: how many operations a second training and sampling do here.

Shapes, recipes and numbers of members come as a JSON list on the standard input, the rates of each go as JSON to the
standard output. Measurements are kept with those of :mod:`bench.tuning`, and are not made twice.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import torch

from bench.clock import Timed, alternate
from bench.coefficients import predict
from bench.config import Training, restore
from bench.device import pick_device
from bench.generate import chunk
from bench.machine import device_name
from bench.memory import keep_freed_memory
from bench.models.flat import Flat
from bench.models.mmdit import MMDiT, initialise
from bench.models.shape import Shape
from bench.products import fast_products
from bench.threads import Threads
from bench.tuning import Tuner, inputs

LIMIT = {"cpu": 5e10, "cuda": 2e13}
"""Operations of a timed step at most: a part of a second."""


def main() -> None:
    """Measure and print."""
    device = pick_device(sys.argv[1])
    keep_freed_memory()
    fast_products(device)
    torch.set_num_threads(Threads(device).usable())
    found = [
        rates(restore(Shape, work["shape"]), restore(Training, work["training"]), device, work["members"])
        for work in json.load(sys.stdin)
    ]
    print(json.dumps({"device": device_name(device), "rates": found}))


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
        timed = sampled(shape, recipe, device, members, samples)
        found = tuner.timings.remember(key, (timed.seconds,), timed.spread)
    return {
        "members": members,
        "training": members * 3 * one * batch / step,
        "evaluation": members * one * samples / found[0],
    }


@torch.no_grad()
def sampled(shape: Shape, recipe: Training, device: torch.device, members: int, samples: int) -> Timed:
    """Seconds of one evaluation of the network for so many samples of each member."""
    model = MMDiT(shape, members)
    initialise(model, torch.Generator().manual_seed(0))
    Flat(model.to(device))  # lays the parameters out as sampling does
    batch, c = inputs(shape, members, samples, device)
    x = batch.x.expand(members, *batch.x.shape)

    def once() -> None:
        predict(model, x, c, batch.tokens, batch.pooled, recipe.precision)

    return alternate(once)[0]


if __name__ == "__main__":
    main()
