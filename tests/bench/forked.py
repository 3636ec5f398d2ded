"""Replicas of a training as processes, which meet by gloo."""

from __future__ import annotations

import copyreg
import faulthandler
import math
import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
from torch import device
from torch import distributed as dist

from bench.training.checkpoint import Checkpointer, State
from bench.training.replicas import Parted, Replicas, join
from bench.worker.setup import Setup, make

from .conftest import TINY

CONTEXT = multiprocessing.get_context("forkserver")
"""Forks from a process that has only imported. Threads do not outlive a fork, and tests in this process may have started
some of autograd's, after which a child cannot compute gradients, or aborts."""
CONTEXT.set_forkserver_preload(
    ["bench.training.divided_flat", "bench.training.train", "bench.worker.setup", "pytest"]
)

cloudpickle.register_pickle_by_value(sys.modules["tests"])  # no path leads to them


def made_again(digest: str) -> Setup:
    """The fixture's setup in another process: made there, as what it holds cannot be sent."""
    setup = make("shapes", TINY, device("cpu"))
    assert setup.data.digest == digest, "only the fixture's setup can be sent to replicas"
    return setup


copyreg.pickle(Setup, lambda setup: (made_again, (setup.data.digest,)))


def together(count: int, work: Callable[[Replicas], None], folder: Path, divided: bool = False) -> list[int]:
    """Run ``work`` as so many replicas, each in a process; returns their exit codes, 3 after a replica that is gone."""
    store = folder / "store"
    store.unlink(missing_ok=True)
    processes = [
        CONTEXT.Process(target=Sent(replica), args=(rank, count, Sent(work), store, divided))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    return [process.exitcode if process.exitcode is not None else -1 for process in processes]


@dataclass(frozen=True)
class Sent:
    """A function that arrives in another process as itself, also if it is a local one."""

    function: Callable[..., None]

    def __reduce__(self) -> tuple[Callable[[bytes], object], tuple[bytes]]:
        return cloudpickle.loads, (cloudpickle.dumps(self.function),)


def replica(rank: int, count: int, work: Callable[[Replicas], None], store: Path, divided: bool) -> None:
    """Run ``work`` as one of the replicas, and end the process without waiting for threads of the others."""
    faulthandler.enable()
    code = 1
    try:
        file = dist.FileStore(str(store), count)
        work(join(file, rank, count, device("cpu"), divided))
        code = 0
    except Parted:
        code = 3
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


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
