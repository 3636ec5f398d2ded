"""Rows of weights as they were during training: their step and loss, and that no ranking has them unasked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.ranking.ranking import rank
from analysis.runs import cell_contents, synthetic
from analysis.runs.run import Run, read

EARLY, ODD = "ema@0.5", "ema@0.33"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    truth = synthetic.Truth(("rf", "eps/linear"), (0.0, 1.0))
    options = {"seeds": 2, "samples": 8, "settings": ((25, 5.0),), "sizes": ((4, 1000),)}
    return synthetic.write(tmp_path_factory.mktemp("run"), truth, weights=("ema", EARLY, ODD), **options)


@pytest.fixture(scope="module")
def about(written: Path) -> Run:
    return read(written)


def test_they_have_their_step_and_the_loss_of_a_validation_at_it(about: Run) -> None:
    curves = cell_contents.curves(about).set_index(["cell", "step"])["val_loss"]
    rows = about.frame.set_index("weights")
    assert set(rows.loc["ema", "best_step"]) == {1000}
    assert set(rows.loc[EARLY, "best_step"]) == {500}
    assert set(rows.loc[ODD, "best_step"]) == {330}
    early = rows.loc[EARLY]
    assert np.allclose(early["val_loss"], [curves[cell, 500] for cell in early["cell"]])
    assert rows.loc[ODD, "val_loss"].isna().all(), "no validation was after that step"


def test_a_ranking_has_them_only_where_they_are_chosen(about: Run, written: Path) -> None:
    assert rank(about).facts.weights == ("ema",)
    assert rank(read(written, ["dataset=synthetic"])).facts.weights == ("ema",)
    assert rank(read(written, [f"weights={EARLY}"])).facts.weights == (EARLY,)
    assert rank(read(written, ["weights=ema@*"])).facts.weights == (ODD, EARLY)


def test_a_log_without_steps_leaves_them_without_a_loss(tmp_path: Path) -> None:
    options = {"seeds": 1, "samples": 8, "settings": ((25, 5.0),), "sizes": ((4, 1000),)}
    where = synthetic.write(tmp_path, synthetic.Truth(("rf",), (0.0,)), weights=("ema", EARLY), **options)
    (log,) = where.glob("cells/*/metrics.jsonl")
    log.write_text('{"val_loss": 1.0}\n')
    rows = read(where).frame.set_index("weights")
    assert np.isnan(rows.loc[EARLY, "val_loss"])
    assert np.isfinite(rows.loc["ema", "val_loss"])
