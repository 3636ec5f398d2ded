"""The training loop: members as separate runs, masks, EMA, the best checkpoint, the learning rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.config.experiment import Grid, Training
from bench.data import Split
from bench.machine.matmul import fast_products
from bench.training.batches import Batches, validation_batch
from bench.training.coefficients import coefficients, validation_coefficients
from bench.training.members import Best, Health
from bench.training.train import Trained, train, validate, validation_steps
from bench.training.trainer import Trainer, ema_decay, rate, scale
from bench.training.untrained import untrained_losses
from bench.worker.setup import Setup
from formulations import get

CPU = torch.device("cpu")
NAMES = ("rf/lognorm(0,1)", "eps/linear", "edm(-1.2,1.2)")


def run(
    setup: Setup, grid: Grid, names: tuple[str, ...] = NAMES, **options: Any
) -> tuple[Trained, list[list[dict[str, Any]]]]:
    recipe = replace(grid.training, **options.pop("recipe", {}))
    formulations = options.pop("formulations", None) or [get(n) for n in names]
    lines: list[list[dict[str, Any]]] = [[] for _ in formulations]

    def record(member: int, so_far: list[dict[str, Any]]) -> None:
        assert so_far[: len(lines[member])] == lines[member]
        assert len(so_far) <= len(lines[member]) + 1
        lines[member] = list(so_far)

    trained = train(
        formulations,
        setup.shape(grid.model),
        recipe,
        Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU),
        validation_batch(setup.data, setup.captions, recipe.validation_images, CPU),
        options.pop("seed", 0),
        record,
        **options,
    )
    return trained, lines


@pytest.mark.parametrize("fast", [False, True], ids=["torch's products", "fast products"])
def test_members_are_separate_runs(setup: Setup, grid: Grid, fast: bool) -> None:
    if fast:
        fast_products(CPU)
    together, lines = run(setup, grid, recipe={"steps": 50})
    for e, name in enumerate(NAMES):
        alone, single = run(setup, grid, (name,), recipe={"steps": 50})
        torch.testing.assert_close(alone.flat.weights[0], together.flat.weights[e], rtol=1e-4, atol=1e-5)
        for a, b in zip(single[0], lines[e], strict=True):
            assert a["val_loss"] == pytest.approx(b["val_loss"], rel=1e-4)
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)


def test_the_same_run_twice_is_bit_equal(setup: Setup, grid: Grid) -> None:
    assert torch.equal(run(setup, grid)[0].best.ema, run(setup, grid)[0].best.ema)


def test_a_set_that_is_read_from_disk_trains_as_one_in_memory(
    setup: Setup, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, lines = run(setup, grid)

    def on_disk(split: Split, name: str) -> Split:
        np.save(tmp_path / name, split.reference)
        return replace(split, reference=np.load(tmp_path / name, mmap_mode="r"))

    train, held = on_disk(setup.data.train, "train.npy"), on_disk(setup.data.validation, "validation.npy")
    monkeypatch.setattr("bench.machine.resident.RESIDENT", 0)
    streamed = replace(setup, data=replace(setup.data, train=train, validation=held))
    after, others = run(streamed, grid)
    assert torch.equal(after.best.ema, before.best.ema)
    assert [[line | {"seconds": 0} for line in each] for each in others] == [
        [line | {"seconds": 0} for line in each] for each in lines
    ]


def test_training_lowers_every_loss(setup: Setup, grid: Grid) -> None:
    _, lines = run(setup, grid, recipe={"steps": 120, "validations": 4})
    for member in lines:
        assert member[-1]["val_loss"] < 0.95 * member[0]["val_loss"]


@pytest.mark.parametrize(
    "change",
    [{"lr": 1e-3}, {"warmup": 9}, {"decay": 0.5}, {"weight_decay": 0.5}, {"ema": 0.5}, {"dropout": 0.9},
     {"precision": "bf16"}, {"batch": 16}, {"validation_images": 32}, {"betas": (0.5, 0.9)}, {"gradients": "normalised"},
     {"optimiser": "muon"}, {"optimiser": "muon(0.5)"}],
)  # fmt: skip
def test_every_option_changes_the_result(setup: Setup, grid: Grid, change: dict[str, Any]) -> None:
    usual, changed = run(setup, grid)[0].best, run(setup, grid, recipe=change)[0].best
    assert not torch.equal(usual.ema, changed.ema) or not torch.equal(usual.loss, changed.loss)


def test_bf16_stays_near_float32(setup: Setup, grid: Grid) -> None:
    usual, half = run(setup, grid)[0], run(setup, grid, recipe={"precision": "bf16"})[0]
    assert half.best.ema.dtype == torch.float32
    torch.testing.assert_close(half.best.loss, usual.best.loss, rtol=0.02, atol=0)


def test_a_diverged_member_is_masked_and_the_others_do_not_notice(setup: Setup, grid: Grid) -> None:
    rf = get("rf")
    calls = []

    def explode(at: Any) -> torch.Tensor:
        calls.append(None)
        return torch.full_like(at.t, float("nan") if at.t.ndim == 2 else 1.0)

    bad = replace(rf, weight=explode, name="bad")
    trained, lines = run(setup, grid, formulations=[rf, bad])
    alone, _ = run(setup, grid, formulations=[rf])
    assert trained.health.diverged_at() == [None, 0]
    assert lines[1][-1]["alive"] is False
    assert lines[1][-1]["train_loss"] is None
    assert trained.best.loss[1] == float("inf")
    assert trained.flat.weights[0].isfinite().all()
    torch.testing.assert_close(alone.best.ema[0], trained.best.ema[0], rtol=1e-4, atol=1e-5)


def test_health_remembers_the_step_of_death() -> None:
    health, one = Health(3, CPU), torch.ones(3)
    health.observe(0, one, one)
    health.observe(1, torch.tensor([1.0, float("nan"), 1.0]), one)
    health.observe(2, one, torch.tensor([1.0, 1.0, float("inf")]))
    assert health.diverged_at() == [None, 1, 2]
    assert health.mean_loss().tolist() == pytest.approx([1.0, 1.0, 1.0]), (
        "over the steps that each member lived"
    )
    assert health.mean_loss().isnan().all()


def test_best_keeps_the_smallest_native_loss_of_living_members() -> None:
    best = Best(torch.zeros(3, 2))
    alive, common = torch.tensor([True, True, False]), torch.tensor([7.0, 7.0, 7.0])
    ones = torch.ones(3, 2)
    best.offer(1, torch.tensor([3.0, float("nan"), 1.0]), common, ones, 10 * ones, alive)
    best.offer(2, torch.tensor([4.0, 2.0, 1.0]), common - 1, 2 * ones, 20 * ones, alive)
    assert best.step.tolist() == [1, 2, 0]
    assert best.loss.tolist() == [3.0, 2.0, float("inf")]
    assert best.common.tolist() == [7.0, 6.0, float("inf")]
    assert best.ema[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert best.raw[:, 0].tolist() == [10.0, 20.0, 0.0]


@pytest.mark.parametrize(
    ("gradients", "expected"),
    [
        ("plain", [[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]),
        ("normalised", [[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]),
        ("clip:2", [[1.2, 1.6], [0.3, 0.4], [0.0, 0.0]]),
    ],
)
def test_gradients_are_scaled_member_by_member(gradients: str, expected: list[list[float]]) -> None:
    grads = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [float("inf"), 0.0]])
    norms = grads.norm(dim=1)
    scale(grads, norms, Training(gradients=gradients))
    assert norms.tolist() == pytest.approx([5.0, 0.5, 0.0, float("inf")])
    torch.testing.assert_close(grads[:3], torch.tensor(expected))


@pytest.mark.parametrize("name", ["rf", "edm(-1.2,1.2)", "eps/linear"])
@pytest.mark.parametrize("gradients", ["plain", "normalised"])
def test_the_unit_of_a_loss_does_not_matter(setup: Setup, grid: Grid, name: str, gradients: str) -> None:
    usual, recipe = get(name), {"gradients": gradients}
    for factor in (0.1, 10.0):
        scaled = replace(usual, weight=lambda at, k=factor: k * usual.weight(at))
        one, other = (run(setup, grid, formulations=[f], recipe=recipe)[0] for f in (usual, scaled))
        near = 5e-3 if gradients == "plain" else 1e-3  # AdamW's eps sees the unit a little
        torch.testing.assert_close(other.best.common, one.best.common, rtol=near, atol=0)
        torch.testing.assert_close(other.best.loss, factor * one.best.loss, rtol=near, atol=0)


def test_learning_rate() -> None:
    recipe = Training(steps=100, warmup=10, decay=0.2)
    rates = [rate(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[50] == rates[80] == 1.0
    assert rates[90] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.05)
    assert [rate(s, Training(steps=100, warmup=0)) for s in (0, 99)] == [1.0, 1.0]


def test_ema_has_the_stated_time_constant() -> None:
    """The study: decay 0.99 every 100 steps, a time constant of 1e4 steps; here a share of the run."""
    recipe = Training(steps=500_000, ema=0.02)
    assert ema_decay(499_999, recipe) ** 100 == pytest.approx(0.99, abs=1e-4)
    assert ema_decay(0, recipe) == 0.1
    assert all(ema_decay(s, recipe) <= ema_decay(s + 1, recipe) for s in range(1000))


def test_ema_follows_its_recursion(setup: Setup, grid: Grid) -> None:
    """Written out again with the weights of every step, which validating at every step makes visible."""
    recipe = {"steps": 6, "validations": 6, "ema": 0.5, "warmup": 1}
    seen: list[torch.Tensor] = []
    offer = Best.offer

    def spy(self: Best, step: int, *given: torch.Tensor) -> None:
        seen.append(torch.stack([given[2], given[3]]).clone())
        offer(self, step, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Best, "offer", spy)
        run(setup, grid, ("rf",), recipe=recipe)
    for step in range(1, 6):
        decay = ema_decay(step, Training(steps=6, ema=0.5))
        expected = decay * seen[step - 1][0] + (1 - decay) * seen[step][1]
        torch.testing.assert_close(seen[step][0], expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(seen[step][0], seen[step][1])


def test_validation_steps_are_even_and_end_with_the_run() -> None:
    assert validation_steps(Training(steps=10, validations=3)) == {3, 7, 10}
    assert validation_steps(Training(steps=2, validations=5)) == {1, 2}


def test_native_and_common_loss_agree_for_rectified_flow_only(setup: Setup, grid: Grid) -> None:
    _, lines = run(setup, grid, ("rf", "eps/cos"))
    assert lines[0][0]["val_native"] == pytest.approx(lines[0][0]["val_common"], rel=1e-5)
    assert lines[1][0]["val_native"] != pytest.approx(lines[1][0]["val_common"], rel=0.1)
    assert len(lines[0][0]["val_common"]) == 8


def test_the_loss_of_an_untrained_network_is_known_without_running_it(setup: Setup, grid: Grid) -> None:
    members = [get(name) for name in NAMES]
    held = validation_batch(setup.data, setup.captions, grid.training.validation_images, CPU)
    trainer = Trainer(setup.shape(grid.model), len(members), grid.training, CPU)
    shared = validate(trainer, held[0], validation_coefficients(members, held[1], CPU))[1]
    assert untrained_losses(members, held) == pytest.approx(shared.mean(1).tolist(), rel=1e-5)


def test_coefficients_do_not_depend_on_the_chunk(setup: Setup) -> None:
    made = Batches(setup.data, setup.captions, 0, 8, 0.1, CPU)
    formulations = [get("rf/curriculum(lognorm(0,1),0.5)"), get("rf")]
    whole = coefficients(formulations, made, range(20), 20)
    tail = coefficients(formulations, made, range(15, 20), 20)
    for a, b in zip(whole, tail, strict=True):
        assert torch.equal(a[:, 15:], b)
    early, late = whole.b[0, :10], whole.b[0, 10:]
    uniform_early, uniform_late = whole.b[1, :10], whole.b[1, 10:]
    assert torch.equal(late, uniform_late), "past the switch the curriculum is uniform"
    assert not torch.equal(early, uniform_early)


def test_formulations_are_not_known_by_name() -> None:
    import inspect

    from bench.sampling import generate
    from bench.training import coefficients, train, trainer

    for module in (train, trainer, generate, coefficients):
        source = inspect.getsource(module)
        assert not any(f'"{word}' in source for word in ("rf", "edm", "eps", "v/", "lognorm"))
