"""Replicas of a training as forked processes, which meet by gloo."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import distributed as dist

from bench.training.checkpoint import Checkpointer, State
from bench.training.replicas import Parted, Replicas, join


def together(count: int, work: Callable[[Replicas], None], folder: Path, divided: bool = False) -> list[int]:
    """Run ``work`` as so many replicas, each in a process; returns their exit codes, 3 after a replica that is gone."""

    def one(rank: int) -> None:
        code = 1
        try:
            store = dist.FileStore(str(folder / "store"), count)
            work(join(store, rank, count, torch.device("cpu"), divided))
            code = 0
        except Parted:
            code = 3
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    (folder / "store").unlink(missing_ok=True)
    context = multiprocessing.get_context("fork")  # nothing has to be imported again
    processes = [context.Process(target=one, args=(rank,)) for rank in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode if process.exitcode is not None else -1 for process in processes]


class Dying(Checkpointer):
    """Saves every third step; kills its own process, or is asked to stop, after a step."""

    def __init__(
        self, folders: Sequence[Path], replicas: Replicas, dies: int | None = None, stops: int | None = None
    ) -> None:
        super().__init__(
            folders,
            math.inf,
            lambda: replicas.agree("asked" if self.step == stops else None),
            keepers=replicas.keepers,
        )
        self.dies, self.step = dies, 0

    def __call__(self, step: int, state: State) -> None:
        self.step = step
        if step == self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seconds = 0.0 if step % 3 == 0 else math.inf
        self.cost = 0.0
        super().__call__(step, state)
