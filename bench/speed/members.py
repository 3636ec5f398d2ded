"""``members``: E members in one graph against the same E runs one after another, and against E processes.

The size is that of the preset ``quick``. All three do E training steps; the processes share the device and the cores,
are warm, and the time is from the word to start until the last has ended. On a GPU compiled members are also compared
with compiled runs one after another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.speed.children import Children
from bench.speed.options import Plan
from bench.speed.sizes import QUICK, TINY, Size
from bench.speed.step import our_step
from bench.speed.timing import Paired, Row, pair, release


def rows(plan: Plan) -> Iterator[Row]:
    """One graph against one by one, compiled too on a GPU, and against processes, for each number of members."""
    size = TINY if plan.tiny else QUICK
    for compiled in (False, True) if plan.gpu and plan.compiled else (False,):
        alone = our_step(size, 1, plan.device, compiled)
        how = "compiled" if compiled else "eager"
        for members in plan.members:
            together = our_step(size, members, plan.device, compiled)
            timed = pair(together, repeated(alone, members), plan.turns("members"), calls=plan.calls)
            yield row(timed, members, size, how, f"{how}, one after another")
        del alone, together
        release()
    for members in plan.members:
        yield against_processes(plan, size, members)


def against_processes(plan: Plan, size: Size, members: int) -> Row:
    """Blocks of steps of one graph against the same of E processes, in alternation; a process at rest costs nothing."""
    steps = 2 if plan.tiny else 20
    together = repeated(our_step(size, members, plan.device), steps)
    with Children(size, members, 1, plan.device, steps) as processes:
        block = pair(together, processes.run, plan.turns("members"), warmups=1)
    return row(
        Paired(block.ours / steps, block.other / steps, block.ratio),
        members,
        size,
        "eager",
        f"{members} process{'es' * (members > 1)}",
    )


def row(timed: Paired, members: int, size: Size, how: str, against: str) -> Row:
    """A line that also says the throughput."""
    return timed.row(
        "members",
        f"{members} member{'s' * (members > 1)}, {size}, {how}",
        against,
        f"{1 / timed.ratio:.2f} times the throughput",
    )


def repeated(step: Callable[[], object], times: int) -> Callable[[], None]:
    """``times`` steps as one call."""

    def steps() -> None:
        for _ in range(times):
            step()

    return steps
