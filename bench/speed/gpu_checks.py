"""``python -m bench.speed --gpu-checks``: what only a GPU shows, in about ten minutes of one H100 or H200.

Each check prints a line, and is written to a file before the next begins, so that a lease that ends early costs no earlier
number. A check that fails does not stop the next. All of them run on a processor, too, at tiny sizes: for their tests.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.config.experiment import Images
from bench.config.presets import preset
from bench.machine.host_sync import no_waiting
from bench.pretrained.frozen_autoencoder import ADAPTERS, Autoencoder
from bench.speed import commands
from bench.speed.sizes import SIZES, Scope, Size, our_step
from bench.speed.timing import clocked, release
from bench.speed.training_steps import products
from bench.training.batches import Batches
from bench.training.feed import Feed
from bench.training.trainer import Trainer
from bench.training.tuning import inputs
from bench.worker.setup import make
from flowbench._core import atomic
from flowbench._core.errors import UserError
from formulations import get

FILE = Path("gpu-checks.json")
"""Where the numbers go unless another file is named."""
NEAR = 0.01
"""Part of their way by which weights after replayed and eager steps may differ."""
STEPS, WARM, TIMED = 20, 6, 5
"""Steps of a check; steps before anything is timed or watched, in which the CUDA graph is recorded; timings of a step."""
AUTOENCODER = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
"""The sizes of Stable Diffusion's AutoencoderKL, 84 million parameters."""
GRID = "--preset published --datasets digits --seeds 1 --compile off"
"""The published formulations, trained once."""


@dataclass(frozen=True)
class Found:
    """What a check found, as a sentence and as numbers with their units in the names; ``ok`` is False where something is not
    as it should be."""

    said: str
    numbers: Mapping[str, float]
    ok: bool = True


def replay(scope: Scope) -> Found:
    """Whether replays of the step's CUDA graph leave the weights of eager steps."""
    size = scope.quick
    batch, c = inputs(size.shape, 3, size.batch, scope.device)
    replayed, eager = (Trainer(size.shape, 3, size.recipe, scope.device) for _ in range(2))
    start, graph = eager.flat.weights.clone(), replayed.replay
    eager.release()
    for step in range(STEPS):
        replayed.step(step, batch, c)
        eager.step(step, batch, c)
    apart = float((replayed.flat.weights - eager.flat.weights).norm() / (eager.flat.weights - start).norm())
    recorded = not scope.gpu or (graph is not None and graph.graph.graph is not None)
    replayed.release()
    said = f"weights after {STEPS} replayed and {STEPS} eager steps are {apart:.1e} of their way apart"
    return Found(
        said if recorded else "no CUDA graph was recorded", {"apart": apart}, recorded and apart < NEAR
    )


def waiting(scope: Scope) -> Found:
    """Whether anything in a step, with its draws, makes the host wait for the device."""
    grid = replace(preset("smoke"), images=Images(16, train=128, validation=64))
    setup, members = make("shapes", grid, scope.device), [get("rf"), get("eps/linear")]
    recipe = replace(grid.training, steps=WARM + STEPS)
    batches = Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, scope.device)
    trainer = Trainer(setup.shape(grid.model), len(members), recipe, scope.device)
    feed = Feed(members, batches, recipe.steps)
    feed.size = 4  # several chunks of draws
    for step in range(WARM):
        trainer.step(step, *feed.at(step))
    with watched(scope):
        for step in range(WARM, recipe.steps):
            trainer.step(step, *feed.at(step))
    trainer.release()
    return Found(f"nothing in {STEPS} steps waits for the device", {"steps": STEPS})


@contextmanager
def watched(scope: Scope) -> Iterator[None]:
    """Within the block a wait for the device is an error."""
    if not scope.gpu:
        with no_waiting(RuntimeError):
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def members(scope: Scope) -> Found:
    """How much more members in one graph train in a second than one alone."""
    times = {count: step_ms(scope, scope.quick, count) for count in scope.members}
    one = times[scope.members[0]] / scope.members[0]
    gains = {count: one * count / each for count, each in times.items()}
    shown = ", ".join(f"{count}: {gain:.3g}" for count, gain in gains.items())
    numbers = {f"{count} members, ms": each for count, each in times.items()}
    return Found(f"{scope.quick}: throughput by members, {scope.members[0]} is 1: {shown}", numbers)


def depth18(scope: Scope) -> Found:
    """A step at depth 18 in bf16 with 256 image and 154 text tokens, against the measured rate of matrix products."""
    size = scope.quick if scope.tiny else SIZES["d18"]
    took, memory = step_ms(scope, size), peak(scope)
    release()
    kind = torch.bfloat16 if size.precision == "bf16" else torch.float32
    rate, reached = max(found[0] for found in products(scope, kind)) / 1000, size.flops / took / 1e9
    said = f"{size}: {took:.3g} ms a step, {reached:.3g} TFLOP/s, {reached / rate:.2f} of the rate of matrix products"
    return Found(said, {"ms": took, "TFLOP/s": reached, "matrix TFLOP/s": rate, "GB": memory})


def tokens(scope: Scope) -> Found:
    """A step at depth 12 with 256 image and 154 text tokens: eager, compiled, and with blocks computed again."""
    size = scope.quick if scope.tiny else SIZES["d12"]
    ways = {"eager": {}, "compiled": {"compiled": True}, "recompute": {"recompute": True}}
    numbers: dict[str, float] = {}
    for name, how in ways.items():
        if how.get("compiled") and not scope.compiled:
            continue
        numbers |= {f"{name}, ms": step_ms(scope, size, **how), f"{name}, GB": peak(scope)}
        release()
    shown = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
    return Found(f"{size}: {shown}", numbers)


def encode(scope: Scope) -> Found:
    """Images a second that an AutoencoderKL with Stable Diffusion's sizes encodes, with random weights in float32."""
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        raise UserError("diffusers is not installed: `pip install 'flowbench[latents]'`") from None
    edge, batch, config = 256, 16, AUTOENCODER
    if scope.tiny:
        edge, batch, config = 32, 2, AUTOENCODER | {"block_out_channels": (32, 32, 32, 32)}
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderKL(**config), ADAPTERS["AutoencoderKL"], str(scope.device))
    images = torch.randint(0, 256, (batch, 3, edge, edge), dtype=torch.uint8)
    model.encode(images)
    took = min(clocked(lambda: model.encode(images)) for _ in range(scope.repeats or TIMED))
    rate = 1000 * batch / took
    said = f"AutoencoderKL, {edge} px, float32, batch {batch}: {rate:.3g} images/s, {peak(scope):.3g} GB"
    return Found(said, {"images/s": rate, "GB": peak(scope)})


def published(scope: Scope) -> Found:
    """Seconds of the 17 published formulations on digits, one seed: a tenth of the steps and a fifth of the images."""
    sizes = "--steps 2000 --samples 200 --precision bf16"
    if scope.tiny:
        sizes = (
            "--steps 2 --warmup 1 --samples 4 --settings 1:1 --formulations rf --depth 1 --validation-batch 8"
        )
    options = f"{GRID} {sizes} --device {scope.device.type}".split()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        done = commands.run([*options, "--out", str(out)], Path(folder) / "cache")
        spent = {row.what.rpartition(": ")[2]: row.ours for row in commands.stages("", out, done)}
    shown = ", ".join(f"{stage} {seconds:.3g} s" for stage, seconds in spent.items())
    return Found(f"{sizes}: {shown}", {f"{stage}, s": seconds for stage, seconds in spent.items()})


CHECKS: dict[str, Callable[[Scope], Found]] = {
    each.__name__: each for each in (replay, waiting, members, depth18, tokens, encode, published)
}
"""The checks in their order: first those that are right or wrong, last the longest."""


def step_ms(scope: Scope, size: Size, count: int = 1, **how: bool) -> float:
    """Milliseconds of a step of ``count`` members, the median of a few timings."""
    reset_peak(scope)
    step = our_step(size, count, scope.device, **how)
    for _ in range(WARM):
        step()
    times = sorted(clocked(step, scope.calls) for _ in range(scope.repeats or TIMED))
    return times[len(times) // 2]


def reset_peak(scope: Scope) -> None:
    """Forget what was allocated at most so far."""
    if scope.gpu:
        torch.cuda.reset_peak_memory_stats()


def peak(scope: Scope) -> float:
    """GB that were allocated at most; 0 on a processor, which does not count them."""
    return torch.cuda.max_memory_allocated() / 1e9 if scope.gpu else 0.0


def run(scope: Scope, facts: Mapping[str, Any]) -> int:
    """Run the checks one by one; returns 0, or 1 if one of them failed. Raises :class:`UserError` without a GPU."""
    if not scope.gpu:
        raise UserError(
            "--gpu-checks needs an NVIDIA GPU, and torch finds none here: run it on a machine that has one"
        )
    about = dict(facts) | {"cuda": torch.version.cuda, "command": "python -m bench.speed --gpu-checks"}
    file = scope.json or FILE
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    return carry_out(scope, about, file)


def carry_out(scope: Scope, about: Mapping[str, Any], file: Path) -> int:
    """Run the checks, print and write each."""
    kept: list[dict[str, Any]] = []
    for name, check in CHECKS.items():
        began = time.perf_counter()
        reset_peak(scope)
        try:
            found = check(scope)
        except Exception as error:  # whatever it is, the GPU's minutes are for the others, too
            words = str(error).strip().splitlines() or [""]
            found = Found(f"{type(error).__name__}: {words[0]}", {}, ok=False)
        release()
        seconds = round(time.perf_counter() - began, 1)
        print(f"{name}: {'ok' if found.ok else 'FAILED'}: {found.said} ({seconds:g} s)", flush=True)
        kept.append({"check": name, **asdict(found), "seconds": seconds})
        atomic.write_json(file, {"machine": dict(about), "checks": kept})
    print(f"in {file}")
    return int(not all(each["ok"] for each in kept))
