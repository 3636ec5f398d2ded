"""How many members train in one graph, and whether their model is compiled: measured on this machine, never guessed.

Neither changes a result beyond float rounding. What was measured is kept in a file of the user's cache folder, so that
the same command decides the same way again, and compiled code is kept beside it.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import formulations
from bench import store
from bench.batches import Batch
from bench.coefficients import stack
from bench.config import Training, identity
from bench.machine import device_name, versions
from bench.models.shape import Shape
from bench.train import Trainer
from formulations import Coeffs
from samplers.errors import UserError

Choice = Literal["auto", "on", "off"]

SIZES = tuple(2**i for i in range(12))
"""Members that are tried in one graph."""
GAIN = 1.03
"""A larger pack must train this much more per second than the best smaller one."""
PATIENCE = 10.0
"""Compiling is tried where eager training lasts so many times as long as compiling is expected to take."""
EXPECTED = {"cpu": 60.0, "cuda": 90.0}
"""Seconds that a first compilation is expected to take."""
MEMORY_SHARE = 0.8
"""The share of free memory that a pack may be expected to need."""


@dataclass(frozen=True)
class Work:
    """One kind of training step: what is measured depends on nothing else."""

    shape: Shape
    batch: int
    precision: str
    device: str
    threads: int
    torch: str
    python: str


@dataclass(frozen=True)
class Tuning:
    """What was chosen, and a sentence on each choice."""

    pack: int
    compiled: bool
    said: tuple[str, ...]


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/flowbench``, by default ``~/.cache/flowbench``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowbench"


def keep_compiled_code() -> None:
    """Let torch keep compiled code in the cache folder, unless the user has named another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))


class Tuner:
    """Measures steps of one kind of work, and remembers them."""

    def __init__(self, shape: Shape, recipe: Training, device: torch.device) -> None:
        self.shape, self.recipe, self.device = shape, recipe, device
        threads = torch.get_num_threads() if device.type == "cpu" else 0
        work = Work(shape, recipe.batch, recipe.precision, device_name(device), threads, **versions())
        self.file = cache_folder() / "steps" / f"{identity(work)}.json"
        self.known: dict[str, Any] = {"work": asdict(work)} | read(self.file)

    def pack(self, most: int) -> int:
        """The number of members with the most member-steps a second, of 1, 2, 4, ... and ``most``."""
        best = 1
        for size in [*(size for size in SIZES if size < most), most]:
            if size > 1 and self.memory(size) > MEMORY_SHARE * free_memory(self.device):
                break
            if self.rate(size) > GAIN * self.rate(best):
                best = size
            elif size > 2 * best:  # two sizes in a row without a gain
                break
        return best

    def rate(self, members: int) -> float:
        """Member-steps a second of an eager pack."""
        return members / self.seconds("eager", members)[0]

    def seconds(self, how: Literal["eager", "compiled"], members: int) -> tuple[float, float]:
        """Seconds of a step, and of the first one, which compiles."""
        key = f"{how}-{members}"
        if key not in self.known:
            trainer = Trainer(self.shape, members, self.recipe, self.device, compiled=how == "compiled")
            self.known[key] = measure(trainer, self.shape, members, self.recipe, self.device)
            with suppress(OSError):  # a cache that cannot be written costs a moment of the next run
                store.write_json(self.file, self.known)
        step, first = self.known[key]
        return float(step), float(first)

    def memory(self, members: int) -> float:
        """Bytes that training is expected to need: nine numbers a parameter, and what the backward pass keeps."""
        return 4.0 * members * (9 * self.shape.parameters() + self.recipe.batch * self.shape.activations())

    def compile(self, members: int, steps: int) -> tuple[bool, str]:
        """Whether to compile a training of ``steps`` steps in all, and why."""
        eager = self.seconds("eager", members)[0]
        expected = EXPECTED.get(self.device.type, EXPECTED["cpu"])
        if f"compiled-{members}" not in self.known and steps * eager < PATIENCE * expected:
            return False, f"{steps * eager:.0f} s of eager steps are too few for compiling to pay"
        step, first = self.seconds("compiled", members)
        chosen = steps * (eager - step) > first
        compared = f"a step takes {1000 * step:.3g} ms instead of {1000 * eager:.3g} ms"
        return chosen, f"{compared}, and compiling {first:.0f} s, for {steps} steps"


def choose(
    shape: Shape,
    recipe: Training,
    device: torch.device,
    cells: int,
    most: int,
    pack: int | None,
    choice: Choice,
) -> Tuning:
    """Choose for ``cells`` trainings of which at most ``most`` can share a graph; ``pack`` None is ``auto``.

    Raises :class:`UserError` if compiling is asked for and cannot be done.
    """
    keep_compiled_code()
    tuner, said = Tuner(shape, recipe, device), []
    size = min(pack or tuner.pack(most), most)
    if pack is None and most > 1:
        gain = f", {tuner.rate(size) / tuner.rate(1):.2g} times the throughput of one" if size > 1 else ""
        said.append(f"--pack auto: {size} of {most} in one graph{gain}")
    why_not = obstacle(device)
    if choice == "on" and why_not:
        raise UserError(f"--compile on: {why_not}: use '--compile off'")
    compiled = choice == "on"
    if choice == "auto":
        steps = recipe.steps * -(-cells // size)
        compiled, why = (False, why_not) if why_not else tuner.compile(size, steps)
        said.append(f"--compile auto: {'on' if compiled else 'off'}, {why}")
    return Tuning(size, compiled, tuple(said))


def obstacle(device: torch.device) -> str | None:
    """Why models cannot be compiled for a device, or None."""
    if device.type == "mps":
        return "torch.compile is not used on mps"
    compilers = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    if device.type == "cpu" and not any(name and shutil.which(name) for name in compilers):
        return "there is no C++ compiler here"
    return None


def measure(
    trainer: Trainer, shape: Shape, members: int, recipe: Training, device: torch.device
) -> tuple[float, float]:
    """Seconds of the fastest of a few steps on drawn inputs, and of the first one."""
    batch, c = inputs(shape, members, recipe.batch, device)
    times: list[float] = []
    while len(times) < 3 or (len(times) < 12 and sum(times[1:]) < 1.0):
        started = time.perf_counter()
        trainer.step(0, batch, c)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times), times[0]


def inputs(shape: Shape, members: int, size: int, device: torch.device) -> tuple[Batch, Coeffs]:
    """A batch and coefficients of the right sizes."""
    generator = torch.Generator().manual_seed(0)
    sizes = (
        (size, shape.channels, shape.resolution, shape.resolution),
        (size, shape.channels, shape.resolution, shape.resolution),
        (size, shape.text_length, shape.text_width),
        (size, shape.pooled_width),
    )
    batch = Batch(*(torch.randn(each, generator=generator).to(device) for each in sizes))
    t = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return batch, stack([formulations.get("rf").coeffs(t)] * members, device)


def free_memory(device: torch.device) -> float:
    """Bytes that can still be allocated; infinite where the system does not tell."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return float("inf")


def read(file: Path) -> dict[str, Any]:
    """What earlier runs measured; nothing if the file is not there or damaged."""
    try:
        return store.read_object(file)
    except UserError:
        return {}
