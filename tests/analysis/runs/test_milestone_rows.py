"""Rows of weights as they were during training: their step and loss, and that no ranking has them unasked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import plots
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


def test_they_have_the_operations_up_to_their_step(about: Run) -> None:
    rows, (recipe,) = about.frame.set_index("weights"), about.manifests[0].recipes
    for weights, step in (("ema", 1000), (EARLY, 500), (ODD, 330)):
        assert np.allclose(rows.loc[weights, "train_flops"], recipe.train_flops * step / 1000)


def test_rows_that_wait_have_the_operations_of_those_that_are_done(tmp_path: Path) -> None:
    options = {"samples": 8, "settings": ((25, 5.0),), "status": lambda f, d, seed: ("pending", None)[seed]}
    truth = synthetic.Truth(("rf",), (0.0,))
    rows = read(synthetic.write(tmp_path, truth, weights=("ema", EARLY), seeds=2, **options)).frame
    assert set(rows["status"]) == {"pending", "done"}
    assert (rows.groupby("weights")["train_flops"].nunique() == 1).all()
    assert rows["train_flops"].nunique() == 2


def test_losses_by_level_are_those_of_every_step_that_was_validated(written: Path) -> None:
    for weights, steps in ((EARLY, {500}), (ODD, set()), ("ema@*", {500}), ("ema*", {500, 1000})):
        about = read(written, [f"weights={weights}"])
        found = cell_contents.evaluated(cell_contents.curves(about), about.frame)
        assert set(found["step"]) == steps
        assert len(found) == 4 * len(steps)
        drawn, why = plots.draw(about, rank(about), ["levels", "budget"])
        if steps:
            assert [one.name for one in drawn] == ["levels", "budget"]
        else:
            assert set(why.values()) == {"no model was validated at the step of ema@0.33"}


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
