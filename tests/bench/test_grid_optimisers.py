"""The optimiser on the page about plugins, end to end: trained with, ranked, and refused once it has changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import flowbench
from analysis import rank
from analysis.runs import schema
from bench import grid, plugins
from bench.optimisers import get, registry
from bench.runfolder import store
from bench.training import checkpoint
from bench.training.checkpoint import Checkpointer, State, Stopped
from bench.worker import loop as worker
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

from .runs import SMALL, cell_of, files, metrics, trainings

PAGE = (Path(flowbench.ROOT) / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("\n## Add an optimiser in five minutes\n")[2].partition("\n## ")[0]


@pytest.fixture
def lion(tmp_path: Path) -> Path:
    """The plugin of the page, removed without a trace."""
    (text,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    file = tmp_path / "lion.py"
    file.write_text(text)
    return file


@pytest.fixture(autouse=True)
def forgotten() -> object:
    """What a test registers is no optimiser afterwards."""
    kept = dict(registry.entries)
    registry.entries.pop("lion", None)  # of another test's copy of the page
    get.cache_clear()
    yield
    registry.entries.clear()
    registry.entries.update(kept)
    get.cache_clear()


def options(file: Path, out: Path) -> list[str]:
    return [*SMALL, "--plugin", str(file), "--optimiser", "lion", "--lr", "0.003", "--out", str(out)]


def test_the_plugin_of_the_page_passes_its_check(lion: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins.main(["check", str(lion)]) == 0
    assert capsys.readouterr().out.startswith("optimiser lion: ok\n  loss: falls")


def test_the_plugin_of_the_page_trains_and_is_ranked(
    lion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, usual = tmp_path / "run", tmp_path / "usual"
    assert grid.main(options(lion, out)) == 0
    assert "rf/lognorm(0.00,1.00)" in capsys.readouterr().out
    assert (out / "ranking.csv").read_text().count("\n") == 3
    manifest = json.loads((out / "grid.json").read_text())
    assert manifest["recipes"][0]["recipe"]["training"]["optimiser"] == "lion"
    assert 'optimiser = "lion"' in (out / "config.toml").read_text()
    assert grid.main([*SMALL, "--lr", "0.003", "--out", str(usual)]) == 0
    one, other = (metrics(cell_of(each, "rf/lognorm(0.00,1.00)")) for each in (out, usual))
    assert one != other, "it is no AdamW"
    assert one[-1]["val_loss"] < 1.5
    assert rank.main([str(out)]) == 0
    assert "eps/linear" in capsys.readouterr().out
    both = pd.concat([pd.read_parquet(each / "results.parquet") for each in (out, usual)])
    with pytest.raises(UserError, match=r"mixes 2 recipes, which cannot be compared .training.optimiser "):
        schema.comparable(schema.Results(both, {}))


def test_a_finished_cell_keeps_its_optimiser(
    lion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, text = tmp_path / "run", lion.read_text()
    assert grid.main(options(lion, out)) == 0
    before = files(out)
    lion.write_text(text + "# a remark\n")
    assert grid.main(options(lion, out)) == 0, "its updates are the same"
    lion.write_text(text.replace("self.betas[1])", "self.betas[0])"))
    capsys.readouterr()
    assert grid.main(options(lion, out)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: optimiser 'lion' has changed since ")
    assert error.endswith("register it under another name, or delete the folder")
    assert files(out) == before


@pytest.mark.usefixtures("here")
def test_an_interrupted_training_needs_the_same_text(
    lion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    def load(file: Path) -> tuple[str, ...]:
        """Workers in this process have the plugin, and need no copy of it."""
        return () if "code" in Path(file).parts else load_plugin(file)

    monkeypatch.setattr(worker.formulations, "load_plugin", load)
    out, whole, text = tmp_path / "run", tmp_path / "whole", lion.read_text()
    assert grid.main(options(lion, whole)) == 0

    def stops(self: Checkpointer, step: int, state: State) -> None:
        if step == 5:
            self.save(step, state)
            raise Stopped("asked: stopped after step 5")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpointer, "__call__", stops)
        assert grid.main(options(lion, out)) != 0
    cells = sorted((out / "cells").iterdir())
    assert [store.checkpoint_steps(cell) for cell in cells] == [[5], [5]]
    lion.write_text(text + "# a remark\n")
    capsys.readouterr()
    assert grid.main(options(lion, out)) == 2
    assert "the plugin of 'lion' has changed since the training in" in capsys.readouterr().err
    assert [store.checkpoint_steps(cell) for cell in cells] == [[5], [5]]
    lion.write_text(text)
    assert grid.main(options(lion, out)) == 0
    for cell in cells:
        assert trainings(cell) == 2
        assert metrics(cell) == metrics(whole / "cells" / cell.name)
        for weights in store.WEIGHTS:
            assert (cell / weights).read_bytes() == (whole / "cells" / cell.name / weights).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--optimiser", "lyon"], "no optimiser is called 'lyon'; did you mean 'lion'"),
        (["--optimiser", "blind", "--betas", "0.9", "0.95"], "--betas: the optimiser blind ignores it"),
        (["--optimiser", "broken"], "the loss of member"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    arguments: list[str], words: str, lion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "class Broken(Lion):\n    def step(self, lr):\n        self.weights.add_(lr * self.grads)\n\n"
    for name in ("blind", "broken"):
        more += f"@register({name!r})\ndef {name}():\n    return Method(Broken, copies=1)\n\n"
    lion.write_text(f"{lion.read_text()}\n\n{more}")
    out = tmp_path / "run"
    assert grid.main([*options(lion, out), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not out.exists()
