"""``threads``: what threads cost where other processes are, against one thread: paired, in alternation, in one run.

Steps of the preset ``quick`` with as many threads as there are cores, which wait actively and passively
(:data:`bench.cores.PASSIVE`), each in a process of its own that sleeps while the other works; alone on the machine, and
beside one process that computes all the time. The last line of each is the number of threads that a worker would take there.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

from bench import cores
from bench.speed.children import Children
from bench.speed.options import Plan
from bench.speed.sizes import QUICK, TINY
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
    for count, where in enumerate(NEIGHBOURS):
        with ExitStack() as stack:
            for _ in range(count):
                busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", SPIN]))
                stack.callback(busy.kill)
            for how in WAITING:
                yield against_one(plan, most, how, where)
            usable = min(most, cores.look().usable)
            yield Row("threads", f"{where}: threads that a worker begins with", usable, f"of {most}")
            if usable > 1:
                yield against_one(plan, usable, "passive", f"{where}, a worker's choice")


def against_one(plan: Plan, threads: int, how: str, where: str) -> Row:
    """A step with so many threads against one thread, in alternation."""
    size, steps = (TINY, 2) if plan.tiny else (QUICK, STEPS)
    members = 2 if plan.tiny else MEMBERS
    with (
        Children(size, 1, members, plan.device, steps, threads, WAITING[how]) as many,
        Children(size, 1, members, plan.device, steps, 1, cores.PASSIVE) as one,
    ):
        timed = pair(many.run, one.run, plan.turns("threads"), warmups=1, calls=1)
    what = f"{where}: {threads} threads, {how} waiting"
    return timed.row("threads", what, f"1 thread, {steps} steps", f"{members} members, {size}")
