"""Objectives: flow matching is the formulation's loss, frozen networks are what they say, and the check finds mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import flowbench
from bench import grid as command
from bench import objectives, plugins
from bench.config.experiment import Grid, Training
from bench.objectives import Batch, Objective, Predict, State
from bench.planning.requirements import Requirements
from bench.training.batches import Batches, validation_batch
from bench.training.coefficients import predict, validation_coefficients
from bench.training.feed import Feed
from bench.training.train import validate
from bench.training.trainer import Trainer
from bench.worker.setup import Setup
from flowbench._core.errors import UserError
from formulations import Coeffs, get, loss, mix

from ..conftest import TINY
from ..runs import SMALL, cell_of, metrics

CPU = torch.device("cpu")
NAMES = ("rf/lognorm(0,1)", "eps/linear")
PAGE = (Path(flowbench.ROOT) / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Add an objective in five minutes\n")[2].partition("\n## ")[0]


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is no objective afterwards."""
    kept = dict(objectives.registry.entries)
    objectives.registry.entries.pop("huber", None)  # of another test's copy of the page
    objectives.get.cache_clear()
    yield
    objectives.registry.entries.clear()
    objectives.registry.entries.update(kept)
    objectives.get.cache_clear()


@pytest.fixture
def huber(tmp_path: Path) -> Path:
    """The plugin of the page."""
    (text,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    file = tmp_path / "huber.py"
    file.write_text(text)
    return file


class Anchored(Objective):
    """Flow matching, and the distance to the outputs of the network that training began with and of its average."""

    frozen = ("start", "ema")
    passes = 5 / 3

    def loss(self, network: Predict, batch: Batch, c: Coeffs, state: State) -> Tensor:
        asked = mix(batch.x, batch.noise, c), c, batch.tokens, batch.pooled
        out = network(*asked)
        near = sum((out - other(*asked)).square().mean((-3, -2, -1)) for other in (state.start, state.ema))
        return loss(out, batch.x, batch.noise, c) + near


def made(setup: Setup, grid: Grid, objective: str, start: Any = None) -> tuple[Trainer, Feed]:
    recipe, members = replace(grid.training, objective=objective, ema=0.5), [get(name) for name in NAMES]
    batches = Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU)
    shape = setup.shape(grid.model)
    trainer = Trainer(shape, len(members), recipe, CPU, start=start)
    return trainer, Feed(members, batches, recipe.steps)


def outputs(trainer: Trainer, weights: Tensor, batch: Batch, c: Coeffs) -> Tensor:
    """Of a network with other weights."""
    kept = trainer.flat.weights.clone()
    trainer.flat.weights.copy_(weights)
    with torch.no_grad():
        x_t = mix(batch.x, batch.noise, c)
        out = predict(trainer.model, x_t, c, batch.tokens, batch.pooled, "float32").clone()
    trainer.flat.weights.copy_(kept)
    return out


def test_frozen_networks_are_the_start_and_the_average_at_every_step(setup: Setup, grid: Grid) -> None:
    objectives.register("anchored")(Anchored)
    trainer, feed = made(setup, grid, "anchored")
    begun = trainer.flat.weights.clone()
    for step in range(4):
        trainer.step(step, *feed.at(step))
    batch, c = feed.at(4)
    assert not torch.equal(trainer.ema, trainer.flat.weights)
    asked = mix(batch.x, batch.noise, c), c, batch.tokens, batch.pooled
    state = trainer.facts(4)
    for network, weights in ((state.start, begun), (state.ema, trainer.ema)):
        found = network(*asked)
        assert not found.requires_grad
        torch.testing.assert_close(found, outputs(trainer, weights, batch, c), rtol=0, atol=0)


def test_an_objective_pulls_to_the_network_that_training_began_with(setup: Setup, grid: Grid) -> None:
    objectives.register("anchored")(Anchored)
    far = []
    for name in ("flow", "anchored"):
        trainer, feed = made(setup, grid, name)
        begun = trainer.flat.weights.clone()
        for step in range(10):
            trainer.step(step, *feed.at(step))
        far.append((trainer.flat.weights - begun).norm(dim=1))
    assert (far[1] < far[0]).all()


def test_training_begins_with_the_given_rows(setup: Setup, grid: Grid) -> None:
    usual, _ = made(setup, grid, "flow")
    rows = torch.stack([usual.flat.weights[0] + e for e in range(len(NAMES))])
    trainer, _ = made(setup, grid, "flow", [usual.flat.member(row) for row in rows])
    assert torch.equal(trainer.flat.weights, rows)
    assert torch.equal(trainer.ema, rows)


def test_validation_is_by_the_objective_and_by_the_common_loss(setup: Setup, grid: Grid) -> None:
    objectives.register("anchored")(Anchored)
    members = [get(name) for name in NAMES]
    batch, levels = validation_batch(setup.data, setup.captions, 16, CPU)
    table = validation_coefficients(members, levels, CPU)
    (flow, _), (anchored, feed) = made(setup, grid, "flow"), made(setup, grid, "anchored")
    for each in (flow, anchored):
        for step in range(3):
            each.step(step, *feed.at(step))
    anchored.flat.weights.copy_(flow.flat.weights)
    anchored.ema.copy_(flow.ema)
    (native, common), (other, same) = (validate(each, batch, table) for each in (flow, anchored))
    torch.testing.assert_close(common, same)
    assert (other > native).all(), "the distance from the start is added"


def test_costs_count_passes_and_networks() -> None:
    objectives.register("anchored")(Anchored)
    usual = Requirements(TINY, "shapes")
    other = Requirements(replace(TINY, training=replace(TINY.training, objective="anchored")), "shapes")
    assert other.steps == pytest.approx(5 / 3 * usual.steps)
    assert other.copies == usual.copies + 1, "the average is there anyway"


def test_flow_is_spelled_in_no_id() -> None:
    assert Training(objective="flow") == Training()
    assert objectives.canonical(Training(objective=" flow ")) == Training()


def wrong(change: str) -> type[Objective]:
    """An objective with one mistake."""

    class Wrong(Objective):
        frozen = ("teacher",) if change == "unknown" else ()

        def loss(self, network: Predict, batch: Batch, c: Coeffs, state: State) -> Tensor:
            x_t = mix(batch.x, batch.noise, c)
            found = loss(network(x_t, c, batch.tokens, batch.pooled), batch.x, batch.noise, c)
            return {
                "mean": lambda: found.mean(1),
                "random": lambda: found * torch.rand(()),
                "mixed": lambda: found + found.flip(0),
                "coupled": lambda: found + found.mean(1, keepdim=True),
                "constant": lambda: found.detach(),
                "waits": lambda: found * (found.sum().item() * 0 + 1),
                "undeclared": lambda: found + state.ema(x_t, c, batch.tokens, batch.pooled).sum(),
            }.get(change, lambda: found)()

        def validation_loss(self, out: Tensor, *others: Any) -> Tensor:
            return self.loss(*others) + (change == "other")

    return Wrong


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("mean", "its loss is [2] or not finite, not [2, 6]"),
        ("random", "differs from call to call"),
        ("mixed", "differs by"),
        ("other", "its validation_loss differs from its loss"),
        ("coupled", "depends on the others of its batch: declare coupled = True"),
        ("constant", "does not depend on the network"),
        ("waits", "waits for the device"),
        ("undeclared", "it calls state.ema without declaring it: frozen = ('ema',)"),
        ("unknown", "has no network 'teacher' to call; "),
    ],
)
def test_the_check_finds_a_mistake(change: str, words: str) -> None:
    objectives.register("wrong")(wrong(change))
    with pytest.raises(UserError, match=re.escape(words)):
        objectives.check(objectives.get("wrong"))


def test_the_plugin_of_the_page_trains_and_a_changed_one_is_refused(
    huber: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plugins.main(["check", str(huber)]) == 0
    assert capsys.readouterr().out.startswith("objective huber: ok\n  loss: finite")
    out, usual = tmp_path / "run", tmp_path / "usual"
    options = [*SMALL, "--plugin", str(huber), "--objective", "huber(.1)", "--out", str(out)]
    assert command.main(options) == 0
    assert command.main([*SMALL, "--out", str(usual)]) == 0
    assert (out / "ranking.csv").read_text().count("\n") == 3
    recipe = json.loads((out / "grid.json").read_text())["recipes"][0]["recipe"]
    assert recipe["training"]["objective"] == "huber(0.10)"
    assert (
        "objective" not in json.loads((usual / "grid.json").read_text())["recipes"][0]["recipe"]["training"]
    )
    assert 'objective = "huber(' in (out / "config.toml").read_text()
    one, other = (metrics(cell_of(each, "eps/linear")) for each in (out, usual))
    assert one[-1]["val_native"] != other[-1]["val_native"]
    capsys.readouterr()
    huber.write_text(huber.read_text().replace("self.delta**2", "self.delta"))
    assert command.main(options) == 2
    assert "objective 'huber(0.10)' has changed since " in capsys.readouterr().err
    assert command.main([*SMALL, "--objective", "flw", "--out", str(tmp_path / "none")]) == 2
    assert "no objective is called 'flw'; did you mean 'flow'" in capsys.readouterr().err
