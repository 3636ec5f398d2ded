"""What packs run on, what they ask while they run, and to what they report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from bench.config.experiment import Cell
from bench.machine.stage_timer import Stages
from bench.training.replicas import ALONE, Replicas


class Watcher(Protocol):
    """Receives how far a pack is: ``stage`` and a text, a share of this pack's work between 0 and 1, and what it counts."""

    def __call__(self, stage: str, text: str, share: float, count: int = 0, unit: str = "") -> None: ...


@dataclass(frozen=True)
class Control:
    """What a pack asks while it runs, and to what it reports.

    ``stop`` gives a reason to save and stop, or None; ``guard`` raises if the cells of these folders are no longer ours to
    write; ``say`` takes a sentence for the log; ``failed`` a cell's id and the hash of its traceback; ``holds`` is
    whether a cell is better not begun; ``checkpoint`` is the seconds between checkpoints. ``threads`` turns the threads of a
    checkpoint into those to continue with; ``cores`` is what is noted of the processor,
    ``track`` names a tracker (:mod:`bench.tracking`).
    """

    stop: Callable[[], str | None] = lambda: None
    guard: Callable[[Sequence[Path]], None] = lambda folders: None
    say: Callable[[str], None] = lambda text: None
    failed: Callable[[str, str], None] = lambda cell, cause: None
    holds: Callable[[Cell], bool] = lambda cell: False
    checkpoint: float = math.inf
    code: str | None = None
    track: str | None = None
    threads: Callable[[int], int] = lambda count: count
    cores: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Bench:
    """What packs run on: a device, models compiled or not, so many micro-batches a step, blocks computed again in the
    backward pass or not, a receiver of progress, and where time is counted. ``replicas`` has all of them train some cells,
    compiled or not, within a block; ``probes`` are attention's (:mod:`bench.training.probes`)."""

    device: torch.device
    watch: Watcher
    stages: Stages
    compiled: bool = False
    control: Control = field(default_factory=Control)
    accumulate: int = 1
    recompute: bool = False
    replicas: Callable[[Sequence[str], bool], AbstractContextManager[Replicas]] = lambda cells, compiled: (
        nullcontext(ALONE)
    )
    probes: bool = False
