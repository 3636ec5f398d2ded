"""Data parallel training: several processes train the same pack, each on its part of every batch.

A replica takes contiguous rows of what a step draws for the whole batch, so that images, captions, noise, u and dropped
captions do not depend on the number of replicas. Gradients and losses are averaged before anything is made of them; so all
replicas take the same step, and their weights stay equal. The first one validates, keeps checkpoints and writes.
Where parameters are divided (:mod:`bench.training.divided_flat`), all validate, and each keeps its part of the state.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import distributed as dist

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

    from bench.training.checkpoint import State

PATIENCE = timedelta(minutes=30)
"""How long replicas wait for one of them, such as for the first one while it validates."""

COLLECTIVES = os.path.dirname(dist.__file__)
"""Where torch keeps the code that calls them, also for parameters that are gathered."""


class Parted(BaseException):
    """A replica is gone, and the others can do nothing more in their processes. No ``Exception``: it is no failure of a
    cell."""


@dataclass(frozen=True)
class Replicas:
    """One process of ``count`` that train together, by its ``rank``; if ``divided``, each has a part of every parameter.
    Where it is the only one, nothing is communicated."""

    rank: int = 0
    count: int = 1
    divided: bool = False

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    @property
    def keepers(self) -> Replicas:
        """Those that each keep a part of the state: these, or this one alone if it has all."""
        return self if self.divided else ALONE

    def rows(self, batch: int) -> slice:
        """The rows of a batch that this process takes."""
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, grads: Tensor, losses: Tensor) -> None:
        """Replace gradients ``[E, P]``, each of its fraction of the whole loss, by their sum, and losses ``[E]`` by their
        mean. Gradients of divided parameters are averaged before."""
        if self.count > 1:
            with present():
                if not self.divided:
                    dist.all_reduce(grads)
                dist.all_reduce(losses)
            losses.div_(self.count)

    def norms(self, grads: Tensor) -> Tensor:
        """The norms ``[E]`` of each member's gradient ``[E, P]``, of all its parts."""
        norms: Tensor = grads.norm(dim=1)
        if not self.divided:
            return norms
        squares = norms.square_()
        with present():
            dist.all_reduce(squares)
        return squares.sqrt_()

    def copy_first(self, *tensors: Tensor) -> None:
        """Replace tensors by those of the first replica."""
        if self.count > 1:
            with present():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def firsts(self, number: int) -> int:
        """The first replica's number, in all of them."""
        held = torch.tensor(number)
        self.copy_first(held)
        return int(held)

    def agree(self, reason: str | None) -> str | None:
        """A reason to stop, for all as soon as one of them has it. Also as many threads for all as the fewest, so that they
        add in the same order."""
        if self.count == 1:
            return reason
        threads = torch.get_num_threads()
        asked = torch.tensor(
            [reason is None, threads], dtype=torch.long
        )  # on the host: nothing waits for a GPU
        with present():
            dist.all_reduce(asked, dist.ReduceOp.MIN)
        none, fewest = asked.tolist()
        if fewest < threads:
            torch.set_num_threads(fewest)
        return reason or (None if none else "another replica is to stop")

    def resume(self, step: int, state: State) -> int:
        """The first replica's state, unless each has its part, and the step after which it continues, in all of them. On a
        CPU also its threads, as another number adds in another order."""
        if self.count == 1:
            return step
        facts = torch.tensor([step, torch.get_num_threads()])
        self.copy_first(facts, *(() if self.divided else state.rows().values()))
        step, threads = facts.tolist()
        if not self.first:
            torch.set_num_threads(threads)
            state.trainer.optimiser.resume(step)
        return step


ALONE = Replicas()
"""The only process of a training."""


def join(store: Store, rank: int, count: int, device: torch.device, divided: bool = False) -> Replicas:
    """Become one of ``count`` replicas that meet at ``store``; raises :class:`Parted` if they do not all come."""
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with present():
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    return Replicas(rank, count, divided)


@contextmanager
def present() -> Iterator[None]:
    """Raise :class:`Parted` where replicas do not hear of each other."""
    try:
        yield
    except RuntimeError as error:
        raise parted(error) from None


def parted(error: RuntimeError) -> Parted:
    """What is raised for a collective that failed."""
    return Parted(f"a replica is gone: {str(error).splitlines()[0]}")


def collective(error: RuntimeError) -> bool:
    """Whether an error is one of torch's collectives, rather than of what is computed between them."""
    calls = traceback.walk_tb(error.__traceback__)
    return any(frame.f_code.co_filename.startswith(COLLECTIVES) for frame, _ in calls)
