"""How many members train in one graph, and whether their model is compiled: measured on this machine, never guessed.

Neither changes a result beyond float rounding. What was measured is kept (:mod:`bench.machine.kept_timings`), so that the
same command decides the same way again, and compiled code is kept with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Literal

import torch

import formulations
from bench import objectives, optimisers
from bench.config.experiment import Training
from bench.config.identity import LATER, full, identity
from bench.data.images import cache_folder
from bench.machine.clock import Timed, alternate, seconds
from bench.machine.device import device_name, free_memory, versions
from bench.machine.kept_timings import Timings
from bench.models.architecture import version_of
from bench.models.shape import Shape
from bench.objectives import Batch
from bench.training.coefficients import stack
from bench.training.trainer import Trainer
from flowbench._core.errors import UserError
from formulations import Coeffs

Choice = Literal["auto", "on", "off"]

SHORT = 1_000
"""Steps below which a training is too short to time packs for it."""
FEW = 200
"""Steps below which a training is too short to time threads for it, or to show how long a step takes."""
CLEARLY = 1.1
"""Half as many members are chosen where they train so many times as much in a second."""
PATIENCE = 10.0
"""Compiling is tried where eager training lasts so many times as long as compiling is expected to take."""
EXPECTED = {"cpu": 60.0, "cuda": 90.0}
"""Seconds that a first compilation is expected to take."""
GAIN = 1.05
"""More threads must be so many times as fast as one: the others' noise hits more of them."""
AGREES = 2.0
"""Factor by which steps of a training, with its validations and checkpoints, may differ from those that were timed."""
MEMORY_SHARE = 0.4
"""The fraction of free memory that a pack may be expected to need: it is timed next to one of half the size."""


@dataclass(frozen=True)
class Work:
    """One kind of training step: what is measured depends on nothing else."""

    shape: Shape
    batch: int
    precision: str
    device: str
    threads: int
    products: str
    architecture: str
    torch: str
    python: str
    place: str
    """Digest of torch's folder: compiled code of one installation is compiled again for another."""
    optimiser: str = field(default="adamw", metadata=LATER)
    objective: str = field(default="flow", metadata=LATER)
    accumulate: int = field(default=1, metadata=LATER)
    recompute: bool = field(default=False, metadata=LATER)


@dataclass(frozen=True)
class Tuning:
    """What was chosen, and a sentence on each choice."""

    pack: int
    compiled: bool
    threads: int
    said: tuple[str, ...]


def keep_compiled_code() -> None:
    """Let torch keep compiled code in the cache folder, unless the user has named another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder(None) / "inductor"))


@dataclass(frozen=True)
class Compiled:
    """Seconds of an eager and of a compiled step, and of a first step whose compiled code is in the cache."""

    eager: float
    compiled: float
    first: float

    def saved(self, steps: int) -> float:
        """Seconds that compiling saves a training of so many steps."""
        return steps * (self.eager - self.compiled) - self.first


class Tuner:
    """Measures steps of one kind of work, in alternation, and remembers what came of it."""

    def __init__(
        self,
        shape: Shape,
        recipe: Training,
        device: torch.device,
        accumulate: int = 1,
        recompute: bool = False,
    ) -> None:
        self.shape, self.recipe, self.device = shape, recipe, device
        self.accumulate, self.recompute = accumulate, recompute
        threads = torch.get_num_threads() if device.type == "cpu" else 0
        work = Work(
            shape,
            recipe.batch,
            recipe.precision,
            device_name(device),
            threads,
            torch.get_float32_matmul_precision(),
            version_of(shape.architecture),
            **versions(),
            place=hashlib.sha256(torch.__file__.encode()).hexdigest()[:8],
            optimiser=recipe.optimiser,
            objective=recipe.objective,
            accumulate=accumulate,
            recompute=recompute,
        )
        file = cache_folder(None) / "steps" / f"{identity(work)}.json"
        self.timings = Timings(file, full(work))
        self.trainers: list[Trainer] = []

    def pack(self, most: int) -> tuple[int, float | None]:
        """Members of a graph, and their throughput over that of half as many, if it was measured.

        As many as memory allows, of ``most``, ``most / 2``, ...; fewer only if half as many are clearly faster.
        """
        size = most
        while size > 1 and self.memory(size) > MEMORY_SHARE * free_memory(self.device):
            size = half(size)
        if size == 1 or self.recipe.steps < SHORT:
            return size, None
        key = f"pack-{size}"
        if not (known := self.timings.recall(key, 2)):
            *values, spread = self._measured_pack(size)
            known = self.timings.remember(key, tuple(values), spread)
        return int(known[0]), known[1]

    def _measured_pack(self, size: int) -> tuple[float, float, float]:
        """The pack, its throughput over that of half of it, and the spread."""
        spread = 0.0
        while size > 1:
            try:
                alone, other = self._timed(self._stepper(size), self._stepper(half(size)))
            except torch.cuda.OutOfMemoryError:
                self._release()
                size = half(size)
                continue
            gain = (size / alone.seconds) / (half(size) / other.seconds)
            spread = max(spread, alone.spread, other.spread)
            if gain > 1 / CLEARLY:
                return size, gain, spread
            size = half(size)
        return 1, 1.0, spread

    def compiled(self, members: int) -> Compiled:
        """Eager against compiled steps."""
        key = f"compiled-{members}"
        if known := self.timings.recall(key, 3):
            return Compiled(*known)
        self._first(members)
        torch.compiler.reset()  # once more, now that the code is in the cache
        first = self._first(members)
        eager, compiled = self._timed(self._stepper(members), self._stepper(members, compiled=True))
        values = eager.seconds, compiled.seconds, first
        return Compiled(*self.timings.remember(key, values, max(eager.spread, compiled.spread)))

    def has_compiled(self, members: int) -> bool:
        """Whether compiled steps have been measured before, and their code is still in the cache."""
        return (
            bool(self.timings.recall(f"compiled-{members}", 3))
            and Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_dir()
        )

    def eager(self, members: int) -> float:
        """Seconds of an eager step."""
        key = f"eager-{members}"
        if known := self.timings.recall(key, 1):
            return known[0]
        (found,) = self._timed(self._stepper(members))
        return self.timings.remember(key, (found.seconds,), found.spread)[0]

    def threads(self, members: int, most: int) -> tuple[int, float]:
        """The threads, of ``most``, half as many, ... and one, that make steps fastest, and how many times as fast as one.

        Fewer where more are not clearly faster. Every number is timed on the same step, in alternation.
        """
        counts = [1, *takewhile(lambda count: count > 1, (most >> i for i in range(most)))]
        if len(counts) == 1:
            return 1, 1.0
        key, before = f"threads-{members}", torch.get_num_threads()
        if not (known := self.timings.recall(key, 2)):
            step = self._stepper(members)
            try:
                found = self._timed(*(partial(with_threads, count, step) for count in counts))
            finally:
                torch.set_num_threads(before)
            one, best = found[0], min(found[1:], key=lambda each: each.seconds)
            gain = one.seconds / best.seconds
            count = counts[found.index(best)] if gain > GAIN else 1
            known = self.timings.remember(key, (count, max(gain, 1.0)), max(one.spread, best.spread))
        return int(known[0]), known[1]

    def doubt(self, members: int, compiled: bool, took: float) -> str | None:
        """Forget what was measured of this work if a training's steps took ``took`` seconds each; returns what disagreed."""
        known = (
            self.timings.recall(f"compiled-{members}", 3)
            if compiled
            else self.timings.recall(f"eager-{members}", 1)
        )
        if not known:
            return None
        step = known[1] if compiled else known[0]
        if 1 / AGREES < took / step < AGREES:
            return None
        self.timings.forget()
        return f"steps took {1000 * took:.3g} ms, and {1000 * step:.3g} ms had been measured: measured again next time"

    def compile(self, members: int, steps: int) -> tuple[bool, str]:
        """Whether to compile a training of ``steps`` steps in all, and why."""
        if not self.has_compiled(members):
            lasts = steps * self.eager(members)
            if lasts < PATIENCE * EXPECTED.get(self.device.type, EXPECTED["cpu"]):
                return False, f"{lasts:.0f} s of eager steps are too few for compiling to pay"
        try:
            found = self.compiled(members)
        except Exception as error:  # whatever a compiler says, eager training works
            return False, f"compiling failed here ({type(error).__name__})"
        times = f"{1000 * found.compiled:.3g} ms a step instead of {1000 * found.eager:.3g} ms"
        return found.saved(steps) > 0, f"{times}, over {steps} steps, for {found.first:.0f} s at the start"

    def memory(self, members: int) -> float:
        """Bytes that training is expected to need."""
        copies = optimisers.get(self.recipe.optimiser).copies + objectives.get(self.recipe.objective).copies
        samples = self.recipe.batch // self.accumulate
        return members * self.shape.training_bytes(samples, copies, self.recompute)

    def _timed(self, *functions: Callable[[], None]) -> tuple[Timed, ...]:
        try:
            return alternate(*functions)
        finally:
            self._release()

    def _first(self, members: int) -> float:
        try:
            return seconds(self._stepper(members, compiled=True))
        finally:
            self._release()

    def _stepper(self, members: int, compiled: bool = False) -> Callable[[], None]:
        given = self.shape, members, self.recipe, self.device
        trainer = Trainer(*given, compiled=compiled, accumulate=self.accumulate, recompute=self.recompute)
        self.trainers.append(trainer)
        batch, c = inputs(self.shape, members, self.recipe.batch, self.device)
        return partial(trainer.step, 0, batch, c)

    def _release(self) -> None:
        for trainer in self.trainers:
            trainer.release()
        self.trainers.clear()


def half(size: int) -> int:
    """Half as many, rounded up."""
    return -(-size // 2)


def with_threads(count: int, function: Callable[[], None]) -> None:
    """Call a function with so many threads."""
    torch.set_num_threads(count)
    function()


def choose(
    shape: Shape,
    recipe: Training,
    device: torch.device,
    groups: Sequence[tuple[int, int]],
    pack: int | None,
    choice: Choice,
    fewer: bool = False,
    accumulate: int = 1,
    recompute: bool = False,
) -> Tuning:
    """Choose for trainings of one shape: ``groups`` are the numbers of cells that can share a graph, each with their steps.

    ``recipe`` is that of the longest; ``pack`` None is ``auto``; steps have ``accumulate`` micro-batches, and ``recompute``
    blocks or not. ``fewer`` allows
    fewer threads than there are now, which are then set. Raises :class:`UserError` if compiling is asked for and cannot be
    done.
    """
    keep_compiled_code()
    most, said = max(cells for cells, _ in groups), []
    if fewer and recipe.steps >= FEW and torch.get_num_threads() > 1:
        said.append(set_threads(Tuner(shape, recipe, device, accumulate, recompute), min(pack or most, most)))
    tuner = Tuner(shape, recipe, device, accumulate, recompute)
    size, gain = (min(pack, most), None) if pack else tuner.pack(most)
    if pack is None and most > 1:
        times = f", {gain:.2g} times the throughput of {half(size)}" if gain and size > 1 else ""
        said.append(f"--pack auto: {size} of {most} in one graph{times}")
    check(choice, device)
    why_not = obstacle(device)
    compiled = choice == "on"
    if choice == "auto":
        steps = sum(steps * -(-cells // size) for cells, steps in groups)
        compiled, why = (False, why_not) if why_not else tuner.compile(size, steps)
        said.append(f"--compile auto: {'on' if compiled else 'off'}, {why}")
    return Tuning(size, compiled, torch.get_num_threads(), tuple(said))


def set_threads(tuner: Tuner, members: int) -> str:
    """Take as many of the present threads as make steps fastest; returns a sentence on that."""
    most = torch.get_num_threads()
    while members > 1 and tuner.memory(members) > MEMORY_SHARE * free_memory(tuner.device):
        members = half(members)
    count, gain = tuner.threads(members, most)
    torch.set_num_threads(count)
    if count == 1:
        return f"threads: 1, steps with up to {most} are no faster"
    return f"threads: {count} of {most}, steps are {gain:.2g} times as fast as with one"


def check(choice: Choice, device: torch.device) -> None:
    """Raises :class:`UserError` if compiling is asked for and cannot be done."""
    why_not = obstacle(device)
    if choice == "on" and why_not:
        raise UserError(f"--compile on: {why_not}: use '--compile off'")


def obstacle(device: torch.device) -> str | None:
    """Why models cannot be compiled for a device, or None."""
    if device.type == "mps":
        return "torch.compile is not used on mps"
    compilers = [os.environ.get("CXX", ""), "g++", "c++", "clang++"]
    if device.type == "cpu" and not any(name and shutil.which(name) for name in compilers):
        return "there is no C++ compiler here"
    if device.type == "cpu" and not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's headers are not installed here"
    return None


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
