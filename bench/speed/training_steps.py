"""The parts ``step``, ``networks``, ``members``, ``work``, ``rates`` and ``threads``: what training steps cost.

A step is forward, backward, the norm of gradients (the peers': clipping), AdamW and EMA, on one batch that lies on the
device. The peers are trained as one trains well: clipping and EMA by ``foreach``, AdamW fused, gradients set to None.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from bench.config.presets import preset
from bench.machine import cores
from bench.machine.matmul import default_products
from bench.speed.children import children
from bench.speed.peers import PEERS, parameters
from bench.speed.sizes import SIZES, TINY, Scope, Size, our_step, peer_step
from bench.speed.timing import Paired, Row, clocked, pair, release, repeated
from flowbench._core.terminal import many

MORE = 9
"""Members of the larger measurement of memory."""
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cuGraphLaunch")
"""How the profiler's names of launches begin."""
WAITING = {"active": {"OMP_WAIT_POLICY": "active"}, "passive": cores.PASSIVE}
SPIN = "while True: pass"


def step(scope: Scope) -> Iterator[Row]:
    """A step of our MM-DiT with one member against each peer's, at each size, eager and compiled.

    Width, depth, heads, tokens, batch and precision are equal. On a CPU ours multiplies as the harness does
    (:mod:`bench.machine.matmul`); the peers do so too, and in another line as torch does by itself.
    """
    for size in scope.fitting():
        for how in modes(scope.compiled):
            compiled, what = how == "compiled", f"{size}, {how}"
            ours, count = our_step(size, 1, scope.device, compiled), size.shape.parameters()
            for name, build in PEERS.items():
                torch.manual_seed(0)
                model = build(size.shape)
                theirs = peer_step(model, size, scope.device, compiled)
                note = f"parameters {count:,} and {parameters(model):,}"
                timed = pair(ours, theirs, scope.turns, calls=scope.calls)
                yield timed.row(what, name, note)
                if torch.get_float32_matmul_precision() != "highest":
                    timed = pair(ours, default_products()(theirs), scope.turns, calls=scope.calls)
                    yield timed.row(what, f"{name}, torch's own products", note)
                del model, theirs
            del ours
            release()


def networks(scope: Scope) -> Iterator[Row]:
    """A step of each other network with one member against the MM-DiT's, at equal depth and width."""
    base = TINY if scope.tiny else SIZES["d2-64"].changed(depth=3)
    usual = our_step(base, 1, scope.device)
    for name in preset("architectures").networks:
        size = base.changed(architecture=name)
        if size.shape.architecture == base.shape.architecture:
            continue
        timed = pair(our_step(size, 1, scope.device), usual, scope.turns, calls=scope.calls)
        note = f"{size.flops / base.flops:.2f} times the operations, {size.shape.parameters():,} parameters"
        yield timed.row(f"{name}, {size}", base.shape.architecture, note)
        release()


def members(scope: Scope) -> Iterator[Row]:
    """E members in one graph against the same E runs one after another, and against E processes.

    All three do E steps of the size of ``quick``; the processes share the device and the cores, are warm, and the time is
    from the word to start until the last has ended. On a GPU also compiled members against compiled runs.
    """
    size, steps = scope.quick, 2 if scope.tiny else 20

    def row(timed: Paired, count: int, how: str, against: str) -> Row:
        what = f"{many(count, 'member')}, {size}, {how}"
        return timed.row(what, against, f"{1 / timed.ratio:.2f} times the throughput")

    for how in modes(scope.gpu and scope.compiled):
        alone = our_step(size, 1, scope.device, how == "compiled")
        for count in scope.members:
            together = our_step(size, count, scope.device, how == "compiled")
            timed = pair(together, repeated(alone, count), scope.turns, calls=scope.calls)
            yield row(timed, count, how, f"{how}, one after another")
        del alone, together
        release()
    for count in scope.members:
        together = repeated(our_step(size, count, scope.device), steps)
        with children(size, count, 1, scope.device, steps) as processes:
            block = pair(together, processes, scope.turns, warmups=1)
        timed = Paired(block.ours / steps, block.other / steps, block.ratio)
        yield row(timed, count, "eager", f"{count} process{'es' * (count > 1)}")


def modes(compiled: bool) -> tuple[str, ...]:
    """How steps run."""
    return ("eager", "compiled") if compiled else ("eager",)


def work(scope: Scope) -> Iterator[Row]:
    """What more work costs: the time of a step when one thing grows, and the memory of a member.

    Memory of a member is an eighth of the difference between the peaks of nine members and of one, at the size of ``quick``:
    of allocated memory on a GPU, else resident memory of a process of its own.
    """
    base = TINY if scope.tiny else SIZES["d2-16"]
    shape, alone = base.shape, our_step(base, 1, scope.device)
    for what, size, count in (
        ("2 x depth", base.changed(depth=2 * shape.depth), 1),
        ("4 x tokens", base.changed(patch=shape.patch // 2, text_length=4 * shape.text_length), 1),
        ("2 x batch", replace(base, batch=2 * base.batch), 1),
        ("2 x members", base, 2),
    ):
        timed = pair(our_step(size, count, scope.device), alone, scope.turns, calls=scope.calls)
        note = f"{count * size.flops / base.flops:.2f} times the operations"
        yield timed.row(what, str(base), note)
    size = scope.quick
    each = (peak_bytes(scope, size, MORE) - peak_bytes(scope, size, 1)) / (MORE - 1)
    note = f"{size.shape.parameters():,} parameters"
    yield Row(f"memory of a member, {size}", each / 2**20, "MiB", note=note)


def peak_bytes(scope: Scope, size: Size, members: int) -> float:
    """Peak memory of three training steps; by then it is reached."""
    if not scope.gpu:
        with children(size, 1, members, scope.device, 3) as process:
            return process()[0]
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    repeated(our_step(size, members, scope.device), 3)()
    return float(torch.cuda.max_memory_allocated() - before)


def rates(scope: Scope) -> Iterator[Row]:
    """The chip's measured rate of matrix products, and the part of it that our step reaches at each size.

    The rate is the best of a few square products, on a CPU through ``torch.mm`` or oneDNN's ``_linear_pointwise``, whichever
    is faster; it and the step are timed in alternation. On a GPU the kernels that a step launches are counted.
    """
    best = {}
    for precision, name in (torch.float32, "float32"), (torch.bfloat16, "bf16"):
        if name == "float32" or scope.gpu:
            rate, what, flops, run = max(products(scope, precision), key=lambda found: found[0])
            best[name] = flops, run
            yield Row(f"matrix product, {name}", rate, "GFLOP/s", note=what)
    for size in scope.fitting():
        for how in modes(scope.compiled):
            what, ours = f"{size}, {how}", our_step(size, 1, scope.device, how == "compiled")
            flops, run = best[size.precision]
            timed = pair(ours, run, scope.turns, calls=scope.calls)
            reached, peak = size.flops / timed.ours / 1e6, flops / timed.other / 1e6
            yield Row(what, reached, "GFLOP/s", peak, size.flops / flops / timed.ratio, "matrix product")
            if scope.gpu:
                yield Row(f"{what}: launches of a step", launches(ours), "kernels")
            release()


def products(scope: Scope, precision: torch.dtype) -> Iterator[tuple[float, str, int, Callable[[], Tensor]]]:
    """The candidates for the best rate: GFLOP/s at the best of a few timings, name, operations, and how it is run."""
    generator = torch.Generator().manual_seed(0)
    for edge in (128,) if scope.tiny else (2048, 4096, 8192) if scope.gpu else (512, 1024, 2048):
        a, b = (torch.randn(edge, edge, generator=generator).to(scope.device, precision) for _ in range(2))
        ways = {"torch.mm": partial(torch.mm, a, b)}
        if not scope.gpu and torch.backends.mkldnn.is_available():  # the compiler's choice for linear layers
            linear = torch.ops.mkldnn._linear_pointwise
            ways["mkldnn._linear_pointwise"] = partial(linear, a, b, None, "none", [], "")
        for name, run in ways.items():
            run()
            fastest = min(clocked(run, scope.calls) for _ in range(scope.turns))
            yield 2 * edge**3 / fastest / 1e6, f"{name}, {edge}", 2 * edge**3, run


def launches(step: Callable[[], None]) -> int:
    """Launches by the host in one warm step; a CUDA graph is one."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step()
        torch.cuda.synchronize()
    return sum(event.name.startswith(LAUNCHES) for event in found.events() or ())


def threads(scope: Scope) -> Iterator[Row]:
    """What threads cost where other processes are, against one thread, in alternation.

    Steps of ``quick`` with as many threads as there are cores, which wait actively and passively
    (:data:`bench.machine.cores.PASSIVE`), each in a process of its own that sleeps while the other works; alone on the
    machine, and with one process that computes all the time. The last line of each is the number of threads that a worker
    would take there.
    """
    most = 1 if scope.tiny else cores.most()  # a tiny measurement may not last on a busy machine
    size, count, steps = scope.quick, 2 if scope.tiny else 6, 2 if scope.tiny else 5
    start = partial(children, size, 1, count, scope.device, steps)

    def against_one(several: Callable[[], object], what: str) -> Row:
        timed = pair(several, one, scope.turns, warmups=1)
        return timed.row(what, f"1 thread, {steps} steps", f"{count} members, {size}")

    places = {"alone": False, "with one busy process": True}
    with start(1, WAITING["passive"]) as one:
        for how, environment in WAITING.items():
            with start(most, environment) as several:
                for where, busy in places.items():
                    with neighbour(busy):
                        yield against_one(several, f"{where}: {most} threads, {how} waiting")
        for where, busy in places.items():
            with neighbour(busy):
                usable = min(most, cores.look().usable)
                yield Row(f"{where}: threads that a worker begins with", usable, f"of {most}")
                if usable > 1:
                    with start(usable, WAITING["passive"]) as several:
                        what = f"{where}, a worker's choice: {usable} threads, passive waiting"
                        yield against_one(several, what)


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Within the block another process computes all the time, if ``busy``."""
    if not busy:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", SPIN]) as process:
        try:
            yield
        finally:
            process.kill()
