"""A metric is declared once, next to its computation: files, tables and the page take it from there."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from analysis.ranking import ranking, render
from analysis.report import contents, page
from analysis.runs import run, synthetic
from analysis.tables import output
from bench.config.experiment import Evaluation, Grid
from bench.config.sampling_settings import ControlSetting
from bench.driver import plan_files
from bench.metrics import metric, run_metrics
from bench.metrics.metric import Metric
from bench.planning import plan
from bench.sampling.generate import Sampled
from bench.worker.measure import measure
from bench.worker.pack import Found, take
from bench.worker.setup import Setup, make
from flowbench._core.errors import Notice, UserError
from flowbench._core.plugin import load_plugin

PLUGIN = """
from bench.metrics import Drawn, Measure, Measured, Metric, register

@register("brightness")
def brightness() -> Measure:
    column = Metric("brightness", "light", True, "mean of all pixels", digits=2, scale="share")
    return Measure((column,), measured)

def measured(drawn: Drawn) -> Measured:
    return Measured({"brightness": float(drawn.images.float().mean()) / 255, "brightness_stderr": float("inf")})
"""


@pytest.fixture
def evaluation(grid: Grid, tmp_path: Path) -> Evaluation:
    """One that measures brightness, too."""
    file = tmp_path / "brightness.py"
    file.write_text(PLUGIN)
    load_plugin(file)
    return run_metrics.with_added(grid.evaluation)


def folder(out: Path) -> Path:
    """A run of three formulations, whose pictures are brighter the better they are."""
    truth = synthetic.Truth(("rf", "v/cos", "eps/linear"), (0.0, -1.0, -2.0), noise=0.01)
    synthetic.write(out, truth, seeds=2, samples=8, weights=("ema",), settings=((5, 5.0), (50, 5.0)))
    light = {"rf": 0.75, "v/cos": 0.5, "eps/linear": 0.25}
    for cell in json.loads((out / "grid.json").read_text())["cells"]:
        file = out / "cells" / cell["cell"] / synthetic.EVALUATION / "result.json"
        kept = json.loads(file.read_text())
        for i, values in enumerate(kept["settings"].values()):
            values["brightness"] = light[cell["formulation"]] + 0.001 * i * (1 + cell["seed"])
        file.write_text(json.dumps(kept))
    return out


def test_a_metric_that_is_added_is_measured_and_declared_by_the_run(
    setup: Setup, grid: Grid, evaluation: Evaluation, tmp_path: Path
) -> None:
    images = torch.full((12, 3, 16, 16), 51, dtype=torch.uint8)
    kept = Found()
    made = replace(setup, measures=run_metrics.measures(evaluation.metrics))
    take(kept, ControlSetting(5, 5.0, weights="ema"), Sampled(images, torch.zeros(12)), made)
    values = next(iter(kept.settings.values()))
    assert values["brightness"] == pytest.approx(0.2)
    assert values["brightness_stderr"] is None, "a number that is not finite is none"
    assert made.names()["brightness_name"] == f"brightness[text={evaluation.metrics[0][-8:]},n=12]"
    written = plan_files.manifest_of(plan.make(replace(grid, evaluation=evaluation), tmp_path / "run"), [])
    assert written.metrics[-1]["label"] == "light"


def test_it_costs_other_evaluations_and_the_images_nothing(grid: Grid, evaluation: Evaluation) -> None:
    assert evaluation.id != grid.evaluation.id
    assert (evaluation.sampling, evaluation.recipe) == (grid.evaluation.sampling, grid.evaluation.recipe)
    assert replace(evaluation, metrics=()).id == grid.evaluation.id


def test_a_metric_that_is_not_there_or_has_changed_is_one_sentence(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="'sharpness' is not registered: name its file with --plugin"):
        run_metrics.columns(["sharpness@12345678"])
    file = tmp_path / "brightness.py"
    file.write_text(PLUGIN + "\n")
    load_plugin(file)
    with pytest.raises(UserError, match="registers the metric 'brightness' has changed"):
        run_metrics.columns(evaluation.metrics)
    assert run_metrics.with_added(evaluation).id != evaluation.id


@pytest.mark.usefixtures("evaluation")
def test_it_stands_in_every_table_and_on_the_page_of_its_run(tmp_path: Path) -> None:
    out = folder(tmp_path / "run")
    plan_of_run = json.loads((out / "grid.json").read_text())
    plan_of_run["metrics"].append(asdict(metric.get("brightness").columns[0]))
    (out / "grid.json").write_text(json.dumps(plan_of_run))
    metric.registry.entries.pop("brightness")  # what follows has it from the run alone
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        found = run.read(out)
    assert "brightness" in pd.read_parquet(out / "results.parquet")
    ranked = ranking.rank(found)
    assert ranked.value("brightness")["rf"] == pytest.approx(0.75, abs=0.01)
    assert "brightness" in output.csv(ranked.frame()).splitlines()[0].split(",")
    table = render.ranking_table(ranked)
    assert table.cells["light"].iloc[0] == "0.75"
    assert "light" in table.optional
    shown = page.html(contents.read(found))
    assert "mean of all pixels; higher is better" in shown
    assert ">light" in shown


@pytest.mark.parametrize(
    ("dataset", "absent"),
    [
        ("scenes", {"geneval_single_object", "geneval_colors"}),
        (
            "shapes",
            {"composition_relation", "geneval_two_object", "geneval_position", "geneval_color_attr"},
        ),
    ],
)
def test_all_that_is_measured_is_declared_as_it_is(dataset: str, absent: set[str], grid: Grid) -> None:
    """One object lies in no relation."""
    setup = make(dataset, grid, torch.device("cpu"))
    images = torch.from_numpy(setup.data.train.reference[:12])
    found = measure(images, setup, path_length=torch.zeros(12))
    named = {m.name for m in run_metrics.columns()}
    assert {name.removesuffix("_stderr") for name in found.values} == named - {"val_loss"} - absent
    assert {*found.per_sample, "fid"} == {m.name for m in run_metrics.columns() if m.per_sample} - absent


@pytest.mark.parametrize("part", ["name", "label"])
def test_no_two_metrics_have_one_name(part: str) -> None:
    found = [getattr(column, part) for column in run_metrics.columns()]
    assert len(set(found)) == len(found)


def test_a_declaration_is_read_as_it_was_written() -> None:
    for column in run_metrics.columns():
        kept: Any = json.loads(json.dumps(asdict(column)))
        assert Metric.read(kept | {"of a later version": 1}) == column


def test_numbers_that_no_metric_declares_are_named(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    rows = [
        f"{name},shapes,ema,5,5,{clip},{30 - clip},0.{i},7,note"
        for i, (name, clip) in enumerate([("rf", 9), ("v/cos", 8)])
    ]
    header = "formulation,dataset,weights,steps,cfg,clip,fid,brightness,lpips,remark"
    file.write_text("\n".join([header, *rows]))
    with pytest.warns(Notice, match="columns 'brightness', 'lpips' in no table: no metric declares"):
        run.read(file)
