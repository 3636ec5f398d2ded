"""Tables instead of measurements, for the tests of tuning: nothing is timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.config.experiment import Training
from bench.machine.clock import Timed
from bench.models.shape import Shape
from bench.training.tuning import Choice, Tuner, Tuning, cache_folder, choose

CPU = torch.device("cpu")
SHAPE = Shape(1, 32, 2, 4, 16, 3, text_length=4, text_width=16, pooled_width=8)
RECIPE = Training(steps=1_000, batch=4)

Cost = Callable[[int], float]


class Stub:
    """Stands for a :class:`Trainer`: all that matters of it is what it trains, and whether it is compiled."""

    def __init__(self, shape: Shape, members: int, *given: Any, compiled: bool = False, **how: Any) -> None:
        self.members, self.compiled = members, compiled

    def step(self, *given: Any) -> None: ...

    def release(self) -> None: ...


class Table:
    """Stands for measuring: seconds of a step by its members, and a list of what was measured."""

    def __init__(self, eager: Cost, compiled: Cost = lambda n: 1.0, first: float = 30.0) -> None:
        self.eager, self.compiled, self.first = eager, compiled, first
        self.measured: list[str] = []
        self.spread = 0.0

    def alternate(self, *functions: Any) -> tuple[Timed, ...]:
        found = []
        for stub in (function.func.__self__ for function in functions):
            self.measured.append(f"{'compiled' if stub.compiled else 'eager'}-{stub.members}")
            found.append(Timed((self.compiled if stub.compiled else self.eager)(stub.members), self.spread))
        return tuple(found)

    def seconds(self, function: Any) -> float:
        assert function.func.__self__.compiled, "only a first compiled step is timed by itself"
        return self.first


Using = Callable[[Table], Table]


def tuner(shape: Shape = SHAPE, recipe: Training = RECIPE) -> Tuner:
    return Tuner(shape, recipe, CPU)


def files() -> list[Path]:
    return sorted(cache_folder(None).rglob("*.json"))


def chosen(
    steps: int, choice: Choice = "auto", pack: int | None = 1, cells: int = 1, most: int = 1
) -> Tuning:
    sizes = [most] * (cells // most) + [cells % most] * (cells % most > 0)
    groups = [(size, steps) for size in sizes]
    return choose(SHAPE, replace(RECIPE, steps=steps), CPU, groups, pack, choice)
