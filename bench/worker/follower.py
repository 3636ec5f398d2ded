"""A replica of a worker but the first: ``python -m bench.worker.follower SUBMISSION INDEX TOKEN RANK``.

It trains what the first replica trains (:mod:`bench.worker.replica_group`), on its part of every batch, and writes nothing
but lines of the log, and checkpoints of its part of the parameters if these are divided.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed as dist

import formulations
from bench.config.experiment import Images
from bench.launch.codes import LOST, REFUSED, SAVED, SETTLED
from bench.machine.device import DeviceLost, keep_freed_memory, pick_device
from bench.machine.matmul import fast_products
from bench.planning.cells import every_cell
from bench.planning.plan import Planned
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Submission
from bench.training.checkpoint import Checkpointer, Stopped
from bench.training.replicas import Parted, Replicas, join, present
from bench.training.train import train
from bench.training.tuning import keep_compiled_code
from bench.worker import parents
from bench.worker.replica_group import PAUSE, READY, find, get, put
from bench.worker.setup import TrainingInputs, training_inputs
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore


def main() -> int:
    """Train until there are no more packs; returns the exit code."""
    folder, index, token, rank = sys.argv[1:]
    try:
        return Follower(submissions.read(Path(folder)), int(index), token, int(rank)).run()
    except Stopped:
        return SAVED
    except UserError as error:
        print(f"replica {rank}: {error}", flush=True)
        return REFUSED
    except (Parted, DeviceLost) as error:
        print(f"replica {rank}: {error}", flush=True)
    except Exception:
        print(f"replica {rank}: {traceback.format_exc()}", flush=True)
    os._exit(LOST)  # what waits for the other replicas would keep Python from ending


@dataclass
class Follower:
    """One replica, by its ``rank``."""

    submission: Submission
    index: int
    token: str
    rank: int
    reason: str | None = None
    parent: int = field(default_factory=os.getppid)
    inputs: dict[tuple[str, Images], TrainingInputs] = field(default_factory=dict)

    def run(self) -> int:
        """Train every pack of the first replica; returns the exit code."""
        for each in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
            signal.signal(each, self._hear)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGUSR2, signal.SIGINT])
        store = find(self.submission, self.index, self.token, self.wait)
        try:
            device = self.prepare(store)
        except UserError as error:
            put(store, f"replica/{self.rank}", str(error))
            raise
        put(store, f"replica/{self.rank}", READY)
        execution = self.submission.execution
        replicas = join(store, self.rank, execution.replicas, device, execution.shards > 1)
        for number in count():
            if (pack := self.read(store, f"pack/{number}")) is None:
                break
            self.train(pack["cells"], pack["compiled"], device, replicas)
        replicas.agree(None)
        dist.destroy_process_group()
        return SETTLED

    def prepare(self, store: TCPStore) -> torch.device:
        """Load what packs need; returns the device. Raises :class:`UserError`, also for other data than the first has."""
        keep_freed_memory()
        keep_compiled_code()
        device = pick_device(self.submission.execution.device)
        fast_products(device)
        for file in self.submission.plugin_files:
            formulations.load_plugin(file)
        for name, sizes, digest in self.read(store, "sources"):
            made = training_inputs(name, Images(**sizes), self.submission.grid, device)
            if made.data.digest != digest:
                raise UserError(f"{name} has another content here than where the first replica is")
            self.inputs[name, Images(**sizes)] = made
        return device

    def train(self, ids: list[str], compiled: bool, device: torch.device, replicas: Replicas) -> None:
        """Train a pack. Raises :class:`Stopped` together with the others."""
        known = {cell.id: cell for cell in every_cell(self.submission.grid)}
        cells, execution = [known[name] for name in ids], self.submission.execution
        pack = [Planned(cell, self.submission.out / "cells" / cell.id, "missing") for cell in cells]
        made = self.inputs[cells[0].dataset, cells[0].images]
        train(
            [formulations.get(cell.formulation) for cell in cells],
            made.shape(cells[0].model),
            cells[0].training,
            made.batches(cells[0], device, replicas),
            made.held(cells[0], device),
            cells[0].seed,
            compiled=compiled,
            checkpointer=Checkpointer(
                [p.folder for p in pack] if replicas.divided else (),
                math.inf,
                lambda: replicas.agree(self.stop()),
                pack=ids,
                keepers=replicas.keepers,
            ),
            start=parents.weights(pack),
            accumulate=execution.accumulate,
            recompute=execution.recompute == "blocks",
            probes=execution.probes and replicas.divided,
        )

    def read(self, store: TCPStore, key: str) -> Any:
        """What the first replica writes, once it has."""
        with present():
            self.wait(lambda: store.check([key]))
            return get(store, key)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Until it is true. Raises :class:`Stopped` if asked to stop meanwhile."""
        while not condition():
            if reason := self.stop():
                raise Stopped(reason)
            time.sleep(PAUSE)

    def stop(self) -> str | None:
        """The reason to stop, or None."""
        gone = "the command that started this replica is gone" if os.getppid() != self.parent else None
        return self.reason or gone

    def _hear(self, *signal: object) -> None:
        self.reason = "asked to stop"


if __name__ == "__main__":
    sys.exit(main())
