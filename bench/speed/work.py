"""``work``: what more work costs: the time of a training step when one thing grows, and the memory of a member.

The step is timed in alternation with that of the base. Memory of a member is an eighth of the difference between the
peaks of nine members and of one, at the size of the preset ``quick``: of allocated memory on a GPU, else resident memory
of a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.speed.children import Children
from bench.speed.options import Plan
from bench.speed.sizes import QUICK, SIZES, TINY, Size
from bench.speed.step import our_step
from bench.speed.timing import Row, pair

MORE = 9
"""Members of the larger measurement of memory."""

STEPS = 3
"""Steps until memory has reached its peak."""


def rows(plan: Plan) -> Iterator[Row]:
    """Time of more work against the base, then memory of a member."""
    base = TINY if plan.tiny else SIZES["d2-16"]
    for what, size, members in grown(base):
        more = our_step(size, members, plan.device)
        timed = pair(more, our_step(base, 1, plan.device), plan.turns("work"), calls=plan.calls)
        operations = members * size.shape.flops(size.batch) / base.shape.flops(base.batch)
        yield timed.row("work", what, str(base), f"{operations:.2f} times the operations")
    size = TINY if plan.tiny else QUICK
    each = (peak_bytes(plan, size, MORE) - peak_bytes(plan, size, 1)) / (MORE - 1)
    yield Row(
        "work",
        f"memory of a member, {size}",
        each / 2**20,
        "MiB",
        note=f"{size.shape.parameters():,} parameters",
    )


def grown(base: Size) -> Iterator[tuple[str, Size, int]]:
    """The base with more of one thing, and the number of members."""
    s = base.shape
    yield "2 x depth", base.changed(depth=2 * s.depth), 1
    yield "4 x tokens", base.changed(patch=s.patch // 2, text_length=4 * s.text_length), 1
    yield "2 x batch", base.changed(batch=2 * base.batch), 1
    yield "2 x members", base, 2


def peak_bytes(plan: Plan, size: Size, members: int) -> float:
    """Peak memory of training steps."""
    if not plan.gpu:
        with Children(size, 1, members, plan.device, STEPS) as process:
            return process.run()[0]
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step = our_step(size, members, plan.device)
    for _ in range(STEPS):
        step()
    return float(torch.cuda.max_memory_allocated() - before)
