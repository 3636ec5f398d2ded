"""A metric is declared once, beside its computation: files, tables and the page know it from there."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from analysis.ranking import ranking, render
from analysis.report import page
from analysis.report.gather import gather
from analysis.results import run, synthetic
from analysis.tables import output
from bench.config.experiment import Grid
from bench.config.settings import ControlSetting
from bench.driver import manifest
from bench.metrics import declared
from bench.metrics.declared import Metric
from bench.planning import plan
from bench.sampling.generate import Sampled
from bench.worker import measure
from bench.worker.measure import Drawn, Measured
from bench.worker.pack import Found, take
from bench.worker.setup import Setup, make
from flowbench._core.errors import Notice

BRIGHTNESS = Metric("brightness", "light", True, "mean of all pixels", digits=2, scale="share")


def brightness(drawn: Drawn) -> Measured:
    return Measured({"brightness": float(drawn.images.float().mean()) / 255}, {})


@pytest.fixture
def with_brightness() -> Iterator[None]:
    declared.METRICS.append(BRIGHTNESS)
    measure.MEASURES.append(brightness)
    yield
    for kept, added in ((declared.METRICS, BRIGHTNESS), (measure.MEASURES, brightness)):
        if added in kept:  # type: ignore[operator]
            kept.remove(added)  # type: ignore[arg-type]


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


@pytest.mark.usefixtures("with_brightness")
def test_a_metric_that_is_added_is_measured_and_declared_by_the_run(
    setup: Setup, grid: Grid, tmp_path: Path
) -> None:
    images = torch.full((12, 3, 16, 16), 51, dtype=torch.uint8)
    kept = Found()
    take(kept, ControlSetting(5, 5.0, weights="ema"), Sampled(images, torch.zeros(12)), setup)
    assert next(iter(kept.settings.values()))["brightness"] == pytest.approx(0.2)
    written = manifest.manifest(plan.make(grid, tmp_path), [])
    assert written["metrics"][-1]["label"] == "light"


@pytest.mark.usefixtures("with_brightness")
def test_it_stands_in_every_table_and_on_the_page_of_its_run(tmp_path: Path) -> None:
    out = folder(tmp_path / "run")
    declared.METRICS.remove(BRIGHTNESS)  # what follows knows of it by the run alone
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        found = run.read(out)
    assert "brightness" in pd.read_parquet(out / "results.parquet")
    ranked = ranking.of_run(found)
    values = dict(zip(ranked["formulation"], ranked["brightness"], strict=True))
    assert values["rf"] == pytest.approx(0.75, abs=0.01)
    assert "brightness" in output.csv(ranked).splitlines()[0].split(",")
    table = render.ranking_table(ranked)
    assert table.cells["light"].iloc[0] == "0.75"
    assert "light" in table.optional
    shown = page.html(gather(found))
    assert "mean of all pixels; higher is better" in shown
    assert ">light" in shown


def test_what_is_measured_and_not_declared_is_refused(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MEASURES", [brightness])
    with pytest.raises(ValueError, match="brightness is measured, and bench"):
        measure.measure(torch.zeros((12, 3, 16, 16), dtype=torch.uint8), setup)


@pytest.mark.parametrize(("dataset", "absent"), [("scenes", set()), ("shapes", {"composition_relation"})])
def test_all_that_is_measured_is_declared_as_it_is(dataset: str, absent: set[str], grid: Grid) -> None:
    """One object lies in no relation."""
    setup = make(dataset, grid, torch.device("cpu"))
    images = torch.from_numpy(setup.data.train.images[:12])
    found = measure.measure(images, setup, path_length=torch.zeros(12))
    named = {m.name for m in declared.METRICS}
    assert {name.removesuffix("_stderr") for name in found.values} == named - {"val_loss"} - absent
    assert {*found.per_sample, "fid"} == {m.name for m in declared.METRICS if m.per_sample} - absent


@pytest.mark.parametrize("part", ["name", "label"])
def test_no_two_metrics_have_one_name(part: str) -> None:
    found = [getattr(metric, part) for metric in declared.METRICS]
    assert len(set(found)) == len(found)


def test_a_declaration_is_read_as_it_was_written() -> None:
    for metric in declared.METRICS:
        kept: Any = json.loads(json.dumps(manifest.asdict(metric)))
        assert Metric.read(kept | {"of a later version": 1}) == metric


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
