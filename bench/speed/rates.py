"""``rates``: the chip's measured matrix-product rate, and the share of it that our training step reaches.

The rate is the best of a few square products, on a CPU through ``torch.mm`` or oneDNN's ``_linear_pointwise``, whichever
is faster. A step does 3 x ``Shape.flops(batch)`` operations; the step and the best product are timed in alternation. On a
GPU the kernels that a step launches are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.speed.options import Plan
from bench.speed.sizes import Size
from bench.speed.step import our_step
from bench.speed.timing import Row, clocked, pair, release

LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuGraphLaunch")
"""How the profiler's names of launches begin."""

NAMES = {torch.float32: "float32", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Product:
    """A matrix product that can be run, with its operations and its name."""

    name: str
    run: Callable[[], Tensor]
    flops: int

    def rate(self, milliseconds: float) -> float:
        """GFLOP/s at this time."""
        return self.flops / milliseconds / 1e6


def rows(plan: Plan) -> Iterator[Row]:
    """The chip's rate in each precision, then the share of it that a step reaches at each size."""
    found = {}
    for precision in (torch.float32, torch.bfloat16) if plan.gpu else (torch.float32,):
        best, rate = fastest(products(plan, precision), plan)
        found[NAMES[precision]] = best
        yield Row("rates", f"matrix product, {NAMES[precision]}", rate, "GFLOP/s", note=best.name)
    for size in plan.fitting("rates"):
        for compiled in (False, True) if plan.compiled else (False,):
            yield from shares(plan, size, compiled, found[size.precision])
            release()


def shares(plan: Plan, size: Size, compiled: bool, best: Product) -> Iterator[Row]:
    """Our step's operations a second against the best product's, and on a GPU its launches."""
    step = our_step(size, 1, plan.device, compiled)
    flops, what = 3 * size.shape.flops(size.batch), f"{size}, {'compiled' if compiled else 'eager'}"
    timed = pair(step, best.run, plan.turns("rates"), calls=plan.calls)
    ours, other = flops / timed.ours / 1e6, best.rate(timed.other)
    yield Row("rates", what, ours, "GFLOP/s", other, flops / best.flops / timed.ratio, "matrix product")
    if plan.gpu:
        yield Row("rates", f"{what}: launches of a step", launches(step), "kernels")


def products(plan: Plan, precision: torch.dtype) -> Iterator[Product]:
    """The candidates for the best rate."""
    generator = torch.Generator().manual_seed(0)
    for edge in (128,) if plan.tiny else (2048, 4096, 8192) if plan.gpu else (512, 1024, 2048):
        a, b = (torch.randn(edge, edge, generator=generator).to(plan.device, precision) for _ in range(2))
        yield Product(f"torch.mm, {edge}", partial(torch.mm, a, b), 2 * edge**3)
        if not plan.gpu and torch.backends.mkldnn.is_available():
            yield Product(f"mkldnn._linear_pointwise, {edge}", partial(linear, a, b), 2 * edge**3)


def linear(a: Tensor, b: Tensor) -> Tensor:
    """``a b^T`` by oneDNN's inner product, which the compiler uses for linear layers."""
    made: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
    return made


def fastest(candidates: Iterator[Product], plan: Plan) -> tuple[Product, float]:
    """The product with the highest rate, each at its best of a few timings after one that does not count."""

    def rate(product: Product) -> float:
        product.run()
        return max(product.rate(clocked(product.run, plan.calls)) for _ in range(plan.turns("rates")))

    return max(((each, rate(each)) for each in candidates), key=lambda found: found[1])


def launches(step: Callable[[], None]) -> int:
    """Launches by the host in one warm step; a CUDA graph is one."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    return sum(event.name.startswith(LAUNCHES) for event in found.events() or ())
