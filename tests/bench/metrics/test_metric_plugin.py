"""A metric is one plugin file: measured, ranked and shown without another file changing, also on runs that are finished."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import flowbench
from analysis import rank
from analysis.report.__main__ import main as report
from analysis.runs import run as results
from analysis.runs import schema
from bench import grid
from bench.metrics import metric
from bench.plugins import main as plugins
from bench.worker import loop
from flowbench._core import plugin as loaded
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

from ..runs import SMALL, run, trainings, written

PAGE = (Path(flowbench.ROOT) / "docs" / "plugins.md").read_text(encoding="utf-8")
TEXT = next(c for c in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if '@register("precision")' in c)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The file of the page."""
    file = tmp_path / "precision.py"
    file.write_text(TEXT)
    return file


def forget(file: Path) -> None:
    """Nothing is known of a plugin any more, as in another command."""
    for name in loaded._done.pop(str(file), ()):
        metric.registry.entries.pop(name)


def columns(out: Path) -> dict[str, dict[str, Any]]:
    """The columns that the last command in a run folder declares."""
    return {m["name"]: m for m in json.loads((out / "grid.json").read_text())["metrics"]}


@pytest.mark.usefixtures("here")
def test_the_metric_of_the_page_is_measured_on_a_finished_run_without_training_or_sampling(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = [*SMALL, "--out", str(out)]
    assert grid.main(command) == 0
    assert "precision" not in columns(out)
    frame = results.read(out).frame
    kept = {pattern: written(out, pattern) for pattern in ("*.safetensors", "images-*/*")}
    assert kept["images-*/*"]

    done = run([*command, "--plugin", str(plugin)])  # with workers of its own
    assert done.returncode == 0, done.stderr
    assert all(written(out, pattern) == before for pattern, before in kept.items())
    assert [trainings(cell) for cell in (out / "cells").iterdir()] == [1, 1]
    assert columns(out)["precision"]["higher_is_better"] is True
    capsys.readouterr()
    assert "precision" not in metric.registry.entries, "what follows has it from the run alone"
    both = results.read(out).frame
    assert both["precision"].between(0, 1).all()
    assert both["precision_name"].nunique() == 1
    assert both["precision_name"].iloc[0].startswith("precision[text=")
    assert both[frame.columns].equals(frame), "the others' values are what they were"
    assert rank.main([str(out), "--format", "csv"]) == 0
    assert "precision" in capsys.readouterr().out.splitlines()[0].split(",")
    assert report([str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "share that lies among held-out images; higher is better" in page
    assert "precision_real" in (out / "real-scores.json").read_text()

    assert grid.main(command) == 0
    assert "precision" not in columns(out)
    assert results.read(out).frame.equals(frame), "the command without the plugin shows the run as it was"


@pytest.mark.usefixtures("here")
def test_an_edited_metric_leaves_no_old_value(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers in this process have the plugin already."""
    monkeypatch.setattr(loop.formulations, "load_plugin", lambda file: load_plugin(plugin))
    out = tmp_path / "run"
    command = [*SMALL, "--formulations", "rf", "--out", str(out), "--plugin", str(plugin)]
    assert grid.main(command) == 0
    before = results.read(out).frame
    plugin.write_text(TEXT.replace("K = 3", "K = 1"))
    assert grid.main(command) == 0
    again = results.read(out)
    after = again.frame
    assert (after["precision"] <= before["precision"]).all(), "no held-out image reaches farther"
    assert not after["precision"].equals(before["precision"])
    assert [trainings(cell) for cell in (out / "cells").iterdir()] == [1]
    mixed = replace(again, frame=pd.concat([before, after.assign(formulation="later")]))
    with pytest.raises(UserError, match=r"2 recipes of precision on 'shapes'.*text "):
        schema.comparable(mixed)


def test_the_metric_of_the_page_passes_its_check(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins(["check", str(plugin)]) == 0
    out = capsys.readouterr().out
    assert (
        "metric precision: ok\n  shapes: declared columns, the same again, better than noise: precision"
        in out
    )


BROKEN = {
    "declares": ("means(precision=", "means(recall=", "'recall', which none of its columns declares"),
    "not for each image": (".any(dim=1)", ".any(dim=0)", "values of shape [64] for 32 images"),
    "not kept": ("        per_sample=True,\n", "", "declares with per_sample=True"),
    "features": ('"features", ', "", "its values depend on the features: declare it, uses=('features',)"),
    "reference": (', "reference"', ",", "its values depend on the reference"),
    "another direction": (
        "        True,\n",
        "        False,\n",
        "precision is declared as lower is better, and is ",
    ),
    "random": (
        "torch.cdist(drawn",
        "4 * torch.rand(len(drawn.images), 1) * torch.cdist(drawn",
        "other values for the same images of shapes",
    ),
    "an error": ("drawn.features", "drawn.feature", "precision.py, line 26): AttributeError"),
    "another name": (
        'Metric(\n        "precision"',
        'Metric(\n        "share"',
        "its first column is 'share'",
    ),
    "no name": (
        'Metric(\n        "precision"',
        'Metric(\n        "Pr"',
        "metric 'Pr': choose lower-case letters",
    ),
    "no measure": (
        "return Measure((column,), measured, uses=",
        "return dict(uses=",
        "returned dict, not a Measure",
    ),
    "nothing": ("return Measured.means", "Measured.means", "returned NoneType, not Measured"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_metric_that_breaks_the_contract_is_one_sentence(
    fault: str, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, words = BROKEN[fault]
    assert old in TEXT
    plugin.write_text(TEXT.replace(old, new).replace('uses=("reference")', 'uses=("reference",)'))
    assert plugins(["check", str(plugin)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error


def test_a_metric_of_a_taken_name_or_label_is_refused_before_anything_is_begun(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    for old, new, words in (
        ('register("precision")', 'register("fid")', "metric 'fid' exists already"),
        ('"precision", "precision"', '"precision", "FID"', "both have a column of label 'FID'"),
        (".any(dim=1)", ".any(dim=0)", "values of shape [64] for 32 images"),
    ):
        plugin.write_text(
            re.sub(r'"precision",\s+"precision"', '"precision", "precision"', TEXT).replace(old, new)
        )
        assert grid.main([*SMALL, "--out", str(out), "--plugin", str(plugin)]) == 2
        assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_plugin_metric_can_decide(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    look = [*SMALL, "--until", "decided", "--dry-run", "--metric"]
    assert grid.main([*look, "precision", "--plugin", str(plugin)]) == 0
    forget(plugin)
    capsys.readouterr()
    assert grid.main([*look, "precision"]) == 2
    assert capsys.readouterr().err.startswith("error: --metric 'precision': ")
