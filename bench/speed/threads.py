"""``threads``: what threads cost where other processes are, against one thread: paired, in alternation, in one run.

Steps of the preset ``quick`` with as many threads as there are cores, which wait actively and passively
(:data:`bench.machine.cores.PASSIVE`), each in a process of its own that sleeps while the other works; alone on the machine,
and beside one process that computes all the time. The last line of each is the number of threads that a worker would take
there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.machine import cores
from bench.speed.children import Children
from bench.speed.options import Plan
from bench.speed.sizes import QUICK, TINY, Size
from bench.speed.timing import Row, pair

WAITING = {"active": {"OMP_WAIT_POLICY": "active"}, "passive": cores.PASSIVE}
NEIGHBOURS = ("alone", "one busy process beside")
STEPS = 5
"""Steps of a turn."""
MEMBERS = 6
"""As many as ``quick`` trains in one graph."""
SPIN = "while True: pass"


def rows(plan: Plan) -> Iterator[Row]:
    """All cores against one thread, by how threads wait, alone and beside a busy process; and what a worker takes there."""
    most = 1 if plan.tiny else cores.most()  # a tiny measurement may not last on a busy machine
    with started(plan, 1, "passive") as one:
        for how in WAITING:
            with started(plan, most, how) as many:
                for where in NEIGHBOURS:
                    with neighbour(where):
                        yield against_one(plan, many, one, f"{where}: {most} threads, {how} waiting")
        for where in NEIGHBOURS:
            with neighbour(where):
                usable = min(most, cores.look().usable)
                yield Row("threads", f"{where}: threads that a worker begins with", usable, f"of {most}")
                if usable > 1:
                    with started(plan, usable, "passive") as many:
                        what = f"{where}, a worker's choice: {usable} threads, passive waiting"
                        yield against_one(plan, many, one, what)


def started(plan: Plan, threads: int, how: str) -> Children:
    """A process that takes steps with so many threads."""
    size, members, steps = sizes(plan)
    return Children(size, 1, members, plan.device, steps, threads, WAITING[how])


def sizes(plan: Plan) -> tuple[Size, int, int]:
    """What is timed: a network, its members, and the steps of a turn."""
    return (TINY, 2, 2) if plan.tiny else (QUICK, MEMBERS, STEPS)


@contextmanager
def neighbour(where: str) -> Iterator[None]:
    """One of :data:`NEIGHBOURS`, within the block."""
    if where == NEIGHBOURS[0]:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", SPIN]) as busy:
        try:
            yield
        finally:
            busy.kill()


def against_one(plan: Plan, many: Children, one: Children, what: str) -> Row:
    """Steps with many threads against one thread, in alternation."""
    size, members, steps = sizes(plan)
    timed = pair(many.run, one.run, plan.turns("threads"), warmups=1, calls=1)
    return timed.row("threads", what, f"1 thread, {steps} steps", f"{members} members, {size}")
