"""One training step: it never waits for the device, a CUDA graph may replay it, and compiled it is the same."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.config.experiment import Grid, Training
from bench.encoders.ragged_captions import Ragged
from bench.encoders.text import PaddedCaptions, RaggedCaptions
from bench.training.batches import Batches
from bench.training.feed import Feed
from bench.training.trainer import Replay, Trainer, schedule
from bench.training.tuning import obstacle
from bench.worker.setup import Setup
from formulations import get

CPU = torch.device("cpu")
NAMES = ("rf/lognorm(0,1)", "eps/linear", "edm(-1.2,1.2)")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def recipe(grid: Grid, **changes: Any) -> Training:
    return replace(grid.training, **{"steps": 20} | changes)


def make(
    setup: Setup, grid: Grid, device: torch.device = CPU, compiled: bool = False, **changes: Any
) -> tuple[Trainer, Feed]:
    wanted = recipe(grid, **changes)
    captions = setup.captions
    if device != CPU:
        captions = replace(captions, tokens=captions.tokens.to(device), pooled=captions.pooled.to(device))
    batches = Batches(setup.data, captions, 0, wanted.batch, wanted.dropout, device, wanted.drop_encoders)
    members = [get(name) for name in NAMES]
    shape = setup.shape(grid.model)
    trainer = Trainer(shape, len(members), wanted, device, compiled=compiled)
    return trainer, Feed(members, batches, wanted.steps)


def advance(trainer: Trainer, feed: Feed, steps: range) -> None:
    for step in steps:
        trainer.step(step, *feed.at(step))


def state(trainer: Trainer) -> dict[str, Tensor]:
    """Everything that a step leaves to the next one, by name; not copied."""
    health = trainer.health
    found = {
        "weights": trainer.flat.weights,
        "gradients": trainer.flat.grads,
        "ema": trainer.ema,
        "alive": health.alive,
        "died": health.died,
        "total": health.total,
        "count": health.count,
    }
    found |= {f"optimiser: {name}": value for name, value in trainer.optimiser.state().items()}
    return found


def assert_same(one: Trainer, other: Trainer) -> None:
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


WAITING = (
    "_local_scalar_dense", "item", "nonzero", "nonzero_static", "is_nonzero", "equal", "masked_select", "unique",
    "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive",
)  # fmt: skip
"""Operators whose result, or its size, the host must wait for."""


class NoWaiting(TorchDispatchMode):
    """Raises for an operator that would make the host wait for a GPU; counts the others."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        if func.overloadpacket.__name__ in WAITING:
            raise AssertionError(f"{func} waits for the device")
        # boolean masks as indices are looked for on the host as well
        if func.overloadpacket.__name__ in ("index", "index_put", "index_put_"):
            kinds = [index.dtype for index in args[1] if index is not None]
            if torch.bool in kinds or torch.uint8 in kinds:
                raise AssertionError(f"{func} with a mask waits for the device")
        return func(*args, **kwargs or {})


class NoReading(TorchFunctionMode):
    """Raises for what reads a tensor of the host without any operator."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("tolist", "numpy", "__array__", "cpu"):
            raise AssertionError(f"{func} waits for the device")
        return func(*args, **kwargs or {})


WAITS = {
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.sum().tolist(),
    "numpy": lambda x: x.numpy(),
    "cpu": lambda x: x.cpu(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: 1 if x.sum() > 0 else 0,
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "equal": lambda x: torch.equal(x, x + 1),
    "mask": lambda x: x[x > 0],
    "masked assignment": lambda x: x.clone().__setitem__(x > 0, torch.ones(())),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "unique rows": lambda x: x.unique(dim=0),
}


@pytest.mark.parametrize("how", WAITS)
def test_waiting_is_noticed(how: str) -> None:
    with pytest.raises(AssertionError, match="waits for the device"), NoWaiting(), NoReading():
        WAITS[how](torch.eye(3))


def test_captions_without_padding_do_not_wait_for_the_device(setup: Setup, grid: Grid) -> None:
    text = setup.captions
    assert isinstance(text, PaddedCaptions)
    made = Ragged.of(text.parts, text.tokens, text.pooled)
    ragged = RaggedCaptions((made,), text.index, text.parts, text.sizes[0], CPU, resident=True)
    trainer, feed = make(replace(setup, captions=ragged), grid)
    plain, usual = make(setup, grid)
    advance(trainer, feed, range(1))
    with NoWaiting(), NoReading():
        advance(trainer, feed, range(1, 4))
    advance(plain, usual, range(4))
    assert_same(trainer, plain)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_step_does_not_wait_for_the_device(
    setup: Setup, grid: Grid, precision: str, optimiser: str
) -> None:
    trainer, feed = make(setup, grid, precision=precision, optimiser=optimiser, drop_encoders=0.5)
    advance(trainer, feed, range(1))
    with NoWaiting() as mode, NoReading():
        advance(trainer, feed, range(1, 4))
    assert mode.calls > 300
    numbers = torch.tensor(4), torch.tensor(1e-3), torch.tensor(0.1)
    inputs = feed.at(4)
    with NoWaiting(), NoReading():  # as a CUDA graph is recorded
        trainer.update(*inputs, *numbers)


@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_step_on_a_gpu_does_not_wait_for_it(setup: Setup, grid: Grid, precision: str) -> None:
    """Warm-up, recording of the graph, replays, and chunks of drawn batches."""
    trainer, feed = make(setup, grid, torch.device("cuda"), precision=precision)
    feed.size = 4
    advance(trainer, feed, range(5))
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="synchroniz"):
            trainer.health.total.sum().item()
        advance(trainer, feed, range(5, 20))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_everything_that_persists_stays_where_it_is(setup: Setup, grid: Grid, optimiser: str) -> None:
    """As a CUDA graph needs, which holds addresses only."""
    trainer, feed = make(setup, grid, optimiser=optimiser)
    advance(trainer, feed, range(1))
    before = {name: (value.data_ptr(), value.clone()) for name, value in state(trainer).items()}
    parameters = [p.data_ptr() for p in trainer.model.parameters()]
    assert {"optimiser: exp_avg", "optimiser: exp_avg_sq"} <= before.keys()
    advance(trainer, feed, range(1, 5))
    after = state(trainer)
    assert {name: value.data_ptr() for name, value in after.items()} == {
        n: at for n, (at, _) in before.items()
    }
    assert [p.data_ptr() for p in trainer.model.parameters()] == parameters
    changed = {name for name, value in after.items() if not torch.equal(value, before[name][1])}
    assert changed == set(before) - {"alive", "died"}, "no member died, and all else moved on"


def test_a_member_that_dies_dies_in_place(setup: Setup, grid: Grid) -> None:
    trainer, feed = make(setup, grid)
    advance(trainer, feed, range(1))
    health = trainer.health
    places = (health.alive.data_ptr(), health.died.data_ptr())
    trainer.flat.weights[1] = float("nan")
    advance(trainer, feed, range(1, 3))
    assert health.diverged_at() == [None, 1, None]
    assert (health.alive.data_ptr(), health.died.data_ptr()) == places


def test_numbers_on_the_device_are_as_good_as_numbers(setup: Setup, grid: Grid) -> None:
    """A CUDA graph reads the step, the learning rate and the EMA's share from tensors, in float32: rounded, and no more."""
    (exact, feed), (rounded, _), (tensors, _) = (make(setup, grid) for _ in range(3))
    start = exact.flat.weights.clone()
    table = torch.tensor([[step, *schedule(step, exact.recipe)] for step in range(20)], dtype=torch.float64)
    for step in range(8):
        batch, c = feed.at(step)
        index, lr, fresh = table[step].float()
        exact.update(batch, c, step, *schedule(step, exact.recipe))
        rounded.update(batch, c, step, float(lr), float(fresh))
        tensors.update(batch, c, index.long(), lr, fresh)
    assert_same(tensors, rounded)
    for now, before in ((tensors.flat.weights, exact.flat.weights), (tensors.ema, exact.ema)):
        assert (now - before).norm() < 1e-5 * (exact.flat.weights - start).norm()


def test_the_schedule_is_what_a_step_uses(setup: Setup, grid: Grid) -> None:
    trainer, feed = make(setup, grid, warmup=5, lr=1e-2)
    used: list[Any] = []
    real = trainer.optimiser.step

    def spy(lr: Any) -> None:
        used.append(lr)
        real(lr)

    trainer.optimiser.step = spy  # type: ignore[method-assign]
    for step in range(4):
        ema = trainer.ema.clone()
        used.clear()
        trainer.step(step, *feed.at(step))
        lr, fresh = schedule(step, trainer.recipe)
        assert lr == pytest.approx(1e-2 * (step + 1) / 5)
        assert used == [lr]
        torch.testing.assert_close(trainer.ema, ema + fresh * (trainer.flat.weights - ema))


def copied(source: Trainer, target: Trainer, steps: int) -> None:
    """Everything that a step leaves to the next one."""
    target.flat.weights.copy_(source.flat.weights)
    target.ema.copy_(source.ema)
    for name, value in target.optimiser.state().items():
        value.copy_(source.optimiser.state()[name])
    target.optimiser.resume(steps)
    for name in ("alive", "died", "total", "count"):
        getattr(target.health, name).copy_(getattr(source.health, name))


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_continued_from_its_state_a_run_is_the_uninterrupted_one(
    setup: Setup, grid: Grid, optimiser: str
) -> None:
    (whole, feed), (half, same), (rest, _) = (make(setup, grid, optimiser=optimiser) for _ in range(3))
    advance(whole, feed, range(20))
    advance(half, same, range(9))
    copied(half, rest, 9)
    fresh = make(setup, grid)[1]
    advance(rest, fresh, range(9, 20))
    assert_same(rest, whole)
    assert not torch.equal(half.flat.weights, whole.flat.weights)


@needs_gpu
@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_replayed_graph_is_the_eager_step(setup: Setup, grid: Grid, precision: str, optimiser: str) -> None:
    gpu, changes = torch.device("cuda"), {"precision": precision, "optimiser": optimiser}
    (replayed, feed), (eager, same) = (make(setup, grid, gpu, **changes) for _ in range(2))
    start = eager.flat.weights.clone()
    eager.replay = None
    advance(replayed, feed, range(20))
    advance(eager, same, range(20))
    assert replayed.replay is not None
    assert replayed.replay.graph.graph is not None, "it was recorded"
    moved, near = (eager.flat.weights - start).norm(), 0.01 if precision == "float32" else 0.05
    assert (replayed.flat.weights - eager.flat.weights).norm() < near * moved
    assert (replayed.ema - eager.ema).norm() < near * moved
    torch.testing.assert_close(replayed.health.total, eager.health.total, rtol=near, atol=0)
    assert replayed.health.count.tolist() == [20, 20, 20]


@needs_gpu
def test_a_member_that_dies_on_a_replay_is_noticed_at_its_step(setup: Setup, grid: Grid) -> None:
    trainer, feed = make(setup, grid, torch.device("cuda"))
    advance(trainer, feed, range(10))
    trainer.flat.weights[2] = float("nan")
    advance(trainer, feed, range(10, 14))
    assert trainer.health.diverged_at() == [None, None, 10]
    assert trainer.health.count.tolist() == [14, 14, 10]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_a_compiled_step_is_the_eager_one(
    backend: str, setup: Setup, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced into one graph with its backward pass, and with code generated for that."""
    if backend == "inductor" and (why := obstacle(CPU)):
        pytest.skip(why)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    (eager, feed), (compiled, same) = make(setup, grid), make(setup, grid, compiled=True)
    start = eager.flat.weights.clone()
    advance(eager, feed, range(10))
    advance(compiled, same, range(10))
    assert compiled.network is not compiled.model
    moved = (eager.flat.weights - start).norm(dim=1)
    assert ((compiled.flat.weights - eager.flat.weights).norm(dim=1) < 1e-4 * moved).all()
    torch.testing.assert_close(compiled.health.total, eager.health.total, rtol=1e-5, atol=0)


def test_a_released_trainer_is_gone_without_the_collector(
    setup: Setup, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory, and that of a CUDA graph, would else stay until the next pack has been made."""
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: object())
    trainer, feed = make(setup, grid)
    advance(trainer, feed, range(1))
    trainer.replay = Replay(trainer, CPU)
    gone = weakref.ref(trainer)
    gc.disable()
    try:
        trainer.release()
        del trainer
        assert gone() is None
    finally:
        gc.enable()
