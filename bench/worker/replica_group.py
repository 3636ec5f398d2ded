"""How the replicas of a worker meet, and how the first one has the others train what it trains.

    DIR/submissions/ID/replicas-0003.json   where the first replica of a share's worker listens, written anew at every start

They meet at a TCPStore of torch's, which holds JSON: the datasets, that each of the others is ready or why it cannot be, and
the packs one after the other.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed as dist

from bench.config.experiment import Images
from bench.runfolder import lease
from bench.runfolder.submission import Submission
from bench.training.checkpoint import Stopped
from bench.training.replicas import ALONE, Parted, Replicas, join, present
from bench.worker.setup import TrainingInputs
from flowbench._core import atomic
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import TCPStore
else:
    from torch.distributed import TCPStore

PAUSE = 0.2
"""Seconds between looks at what others have written."""
CONNECT = timedelta(seconds=10)
READY = "ready"
"""What a replica answers that can train."""


class Lead:
    """The first replica of a worker, and what it has the others do. Without others nothing is opened."""

    def __init__(self, submission: Submission, index: int, token: str) -> None:
        self.count, self.replicas, self.packs, self.parted = submission.execution.replicas, ALONE, 0, False
        self.divided = submission.execution.shards > 1
        if self.count > 1:
            several = int(os.environ.get("SLURM_NNODES", "1")) > 1
            host = os.environ["SLURMD_NODENAME"] if several else "localhost"
            self.store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
            meeting = {"token": token, "host": host, "port": self.store.port}
            atomic.write_json(submission.replicas_file(index), meeting)

    def gather(self, ready: Mapping[tuple[str, Images], TrainingInputs], device: torch.device) -> None:
        """Wait until all replicas have the datasets. Raises :class:`UserError` for one that cannot have them."""
        if self.count == 1:
            return
        sources = [[name, asdict(images), made.data.digest] for (name, images), made in ready.items()]
        put(self.store, "sources", sources)
        for rank in range(1, self.count):
            while not self.store.check([f"replica/{rank}"]):
                time.sleep(PAUSE)
            if (answer := get(self.store, f"replica/{rank}")) != READY:
                raise UserError(f"replica {rank} of {self.count}: {answer}")
        put(self.store, "begun", True)
        self.replicas = join(self.store, 0, self.count, device, self.divided)

    @contextmanager
    def pack(self, cells: Sequence[str], compiled: bool) -> Iterator[Replicas]:
        """Within the block all replicas train these cells. After an error there they are no longer at the same step: raises
        :class:`Parted` when the next pack begins, and other processes continue."""
        if self.count > 1:
            self._order({"cells": list(cells), "compiled": compiled})
        try:
            yield self.replicas
        except Stopped:
            raise
        except BaseException:
            self.parted = True
            raise

    def end(self) -> None:
        """Let the others end; there are no more packs."""
        if self.count > 1 and not self.parted:
            self._order(None)
            self.replicas.agree(None)  # once they have read it
            dist.destroy_process_group()

    def _order(self, what: Any) -> None:
        if self.parted:
            raise Parted("the replicas are not at the same step after an error in one of them")
        with present():
            put(self.store, f"pack/{self.packs}", what)
        self.packs += 1


def find(
    submission: Submission, index: int, token: str, wait: Callable[[Callable[[], bool]], None]
) -> TCPStore:
    """The store of the first replica in this start of the worker, once it is there; ``wait`` returns when a condition holds.

    One that has begun already is of an earlier start, and ends because a replica of it did.
    """
    found: list[TCPStore] = []

    def there() -> bool:
        meeting = lease.read(submission.replicas_file(index))
        if meeting.get("token") != token:
            return False
        try:
            store = TCPStore(meeting["host"], meeting["port"], is_master=False, timeout=CONNECT)
            found[:] = [store] if not store.check(["begun"]) else []
        except RuntimeError:  # it is gone
            return False
        return bool(found)

    wait(there)
    return found[0]


def put(store: TCPStore, key: str, value: Any) -> None:
    """Write a value as JSON."""
    store.set(key, json.dumps(value))


def get(store: TCPStore, key: str) -> Any:
    """Read a value that is there."""
    return json.loads(store.get(key))
