"""Identity of cells: golden ids, defaults that do not count, options that do."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from analysis.runs import schema
from bench import objectives
from bench.config.experiment import Cell, Evaluation, Grid, Images, Init, Model, Stage, Training
from bench.config.identity import canonical, full, identity, non_default, restore
from bench.config.presets import PRESETS, preset
from bench.config.sampling_settings import FIELDS, Setting
from bench.driver import plan_files
from bench.models import Plain, register
from bench.objectives.flow import Flow
from bench.planning.cells import cells_of
from bench.planning.requirements import by_cell
from flowbench._core.errors import UserError

GOLDEN = {
    "default": (Cell("rf", "shapes"), "62fb3ff1401d"),
    "seed and size": (
        Cell("rf/lognorm(0.00,1.00)", "digits", seed=2, model=Model(depth=2, patch=4)),
        "241031b069aa",
    ),
    "recipe": (
        Cell("edm/rf", "shapes", training=Training(steps=1500, lr=2e-3), images=Images(resolution=32)),
        "f0287287675e",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_ids(name: str) -> None:
    cell, expected = GOLDEN[name]
    assert cell.id == expected


def test_golden_evaluation_id() -> None:
    assert Evaluation(samples=256, weights=("ema",)).id == "5ef128ded8c9"


def test_only_what_differs_from_the_defaults_is_hashed() -> None:
    assert non_default(Cell("rf", "shapes")) == {"formulation": "rf", "dataset": "shapes"}
    assert non_default(Cell("rf", "shapes", model=Model(patch=4))) == {
        "formulation": "rf",
        "dataset": "shapes",
        "model": {"patch": 4},
    }


def test_whole_numbers_and_floats_are_one_value() -> None:
    assert (
        Cell("rf", "shapes", training=Training(lr=1)).id == Cell("rf", "shapes", training=Training(lr=1.0)).id
    )
    assert Evaluation(settings=(Setting(50, 5),)).id == Evaluation(settings=(Setting(50, 5.0),)).id


CHANGES: dict[str, Any] = {
    "depth": 5, "width": 128, "heads": 2, "patch": 4, "architecture": "my/linear",
    "resolution": 32, "train": 7, "validation": 9, "steps": 3,
    "batch": 5, "objective": "mine", "lr": 0.1, "optimiser": "muon",
    "betas": (0.9, 0.95), "gradients": "clip:1", "warmup": 3, "decay": 0.1, "weight_decay": 0.1, "ema": 0.1, "dropout": 0.2,
    "drop_encoders": 0.3, "dropped": "empty",
    "validations": 3, "validation_images": 64, "precision": "bf16", "milestones": (0.5,),
    "settings": (Setting(5, 1.0),), "weights": ("raw",),
    "samples": 10, "start": 40.0, "extractor": "clip:x", "reference": "adm.npz", "metrics": ("precision@1a2b3c4d",),
}  # fmt: skip


@pytest.mark.parametrize("part", [Model, Images, Training, Evaluation])
def test_every_field_changes_the_identity(part: type) -> None:
    default = part()
    for f in fields(part):
        assert identity(replace(default, **{f.name: CHANGES[f.name]})) != identity(default), f.name


@pytest.mark.parametrize("part", [Model, Images, Training, Evaluation, Cell])
def test_every_field_is_in_the_recipe_or_a_column_of_the_table(part: type) -> None:
    """So that what is measured in two ways is never ranked together, whatever fields are still to come."""

    class Linear(torch.nn.Linear):
        def forward(self, x: Tensor, *captions: Tensor) -> Tensor:
            return super().forward(x)

    objectives.register("mine")(Flow)
    register("my/linear")(lambda: Plain(lambda shape: Linear(shape.resolution, shape.resolution)))

    def recipe(changed: Any) -> str:
        cell, evaluation = Cell("rf", "shapes"), Evaluation()
        if part is Cell:
            cell = changed
        elif part is Evaluation:
            evaluation = changed
        else:
            cell = replace(cell, **{part.__name__.lower(): changed})
        return plan_files.recipe(cell, evaluation, by_cell(Grid())).text

    usual = Cell("rf", "shapes") if part is Cell else part()
    for f in fields(part):
        parts = {"model": Model(depth=5), "images": Images(train=7), "training": Training(steps=3)}
        value = {
            **CHANGES,
            **parts,
            "formulation": "v/cos",
            "dataset": "digits",
            "seed": 1,
            "text": "clip:x",
            "init": Init(Cell("rf", "shapes")),
        }[f.name]
        changes = recipe(replace(usual, **{f.name: value})) != recipe(usual)
        columns = FIELDS if f.name == "settings" else (f.name,)
        if f.name == "metrics":  # each is a column, whose values are ranked by their own recipe
            assert not changes
            continue
        assert changes or (part in (Cell, Evaluation) and set(columns) <= set(schema.KEY)), f.name


CHANGED_GRID: dict[str, Any] = {
    "formulations": ("rf", "v/cos"), "samplers": ("uniform", "lognorm(0,1)"), "datasets": ("digits",), "seeds": 2,
    "model": Model(depth=5), "images": Images(train=7), "training": Training(steps=3), "evaluation": Evaluation(samples=10),
    "text": "clip:x", "depths": (2, 3), "budgets": (7, 8), "first_seed": 5,
    "networks": ("mmdit", "dit"), "equal": "parameters",
    "earlier": (Stage(),),
}  # fmt: skip


@pytest.mark.parametrize("name", [f.name for f in fields(Grid)])
def test_every_field_of_a_grid_changes_its_cells_or_how_they_are_measured(name: str) -> None:
    """And the plan of a run folder gives it back."""

    def made(grid: Grid) -> tuple[list[str], str]:
        return [cell.id for cell in cells_of(grid)], grid.evaluation.id

    usual = Grid(("rf",), networks=CHANGED_GRID["networks"] * (name == "equal"))
    changed = replace(usual, **{name: CHANGED_GRID[name]})
    assert made(changed) != made(usual)
    assert restore(Grid, full(changed)) == changed


@given(st.permutations(["a", "b", "c"]))
def test_canonical_json_does_not_depend_on_order(keys: list[str]) -> None:
    assert canonical({k: ord(k) for k in keys}) == '{"a":97,"b":98,"c":99}'


def test_full_dump_is_json_and_complete() -> None:
    dumped = full(Cell("rf", "shapes"))
    assert set(dumped) == {f.name for f in fields(Cell)} - {"init"}, (
        "younger than results, and left out from scratch"
    )
    assert dumped["training"]["steps"] == Training().steps


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Training(steps=0), "--steps 0"),
        (lambda: Training(lr=-1.0), "--lr -1"),
        (lambda: Training(lr=float("nan")), "--lr nan"),
        (lambda: Training(gradients="clipped"), "choose plain, normalised or clip:X"),
        (lambda: Training(gradients="clip:0"), "--gradients 'clip:0'"),
        (lambda: Training(gradients="clip:x"), "for example clip:1"),
        (lambda: Training(betas=(0.9,)), "--betas 0.9: must be two numbers"),
        (lambda: Training(betas=(0.9, 1.0)), "--betas 0.9 1"),
        (lambda: Training(dropout=1.5), "nearest is 1"),
        (lambda: Training(validation_images=60), "nearest is 64"),
        (lambda: Training(precision="fp8"), "'float32', 'bf16'"),  # type: ignore[arg-type]
        (lambda: Model(depth=0), "--depth 0"),
        (lambda: Model(width=100, heads=3), "--width 96"),
        (lambda: Images(resolution=-4), "--resolution -4"),
        (lambda: Evaluation(samples=1), "--samples 1"),
        (lambda: Evaluation(settings=(Setting(0, 1.0),)), "steps must be at least 1"),
        (lambda: Evaluation(settings=(Setting(5, 1.0), Setting(5, 1.0))), "names 5:1 twice"),
        (lambda: Evaluation(weights=("best",)), "'ema', 'raw'"),
        (lambda: Evaluation(weights=("ema", "ema@1.5")), "--weights 'ema@1.5': choose from"),
        (lambda: Evaluation(weights=("ema", "ema@x")), "after a fraction of the training in (0, 1]"),
        (lambda: Evaluation(weights=("ema", "best@0.5")), "for example ema@0.5"),
        (lambda: Evaluation(weights=("ema", "ema@0.5", "ema@0.50")), "none twice"),
        (lambda: Evaluation(weights=("ema@0.5",)), "must name ema, raw or both"),
        (lambda: Training(milestones=(0.5, 1.5)), "--milestones 1.5"),
        (lambda: Training(milestones=(0.0,)), "--milestones 0"),
        (lambda: Grid(seeds=0), "--seeds 0"),
        (lambda: Grid(depths=(2, 0)), "--depths 0"),
        (lambda: Grid(budgets=(-5,)), "--budgets -5"),
        (lambda: Grid(model=Model(depth=6, heads=3), depths=(3, 4)), "--depths 4: the model's width 256"),
        (lambda: preset("qick"), "did you mean 'quick'?"),
    ],
)
def test_mistakes_are_one_sentence(make: Any, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_presets() -> None:
    study_size = {"imagenet", "cc12m"}
    assert (
        set(PRESETS)
        == {"smoke", "quick", "scaling", "architectures", "autoencoders", "published", "paper"} | study_size
    )
    quick = PRESETS["quick"]
    assert len(quick.formulations) >= 6
    assert quick.datasets == ("digits",), "real pictures, which a model of minutes learns to draw"
    assert quick.images.resolution == 8, "as they are: nothing is interpolated"
    study = ["50:1", "50:2.5", "50:5", "5:5", "10:5", "25:5"]
    assert [s.key for s in PRESETS["paper"].evaluation.settings] == study
    assert PRESETS["paper"].formulations == ("paper",)
    assert PRESETS["paper"].evaluation.weights == ("ema", "raw")
    assert PRESETS["paper"].evaluation.samples == 1000
    for name in study_size:
        grid, recipe = PRESETS[name], PRESETS[name].training
        assert (recipe.batch, recipe.lr, recipe.warmup) == (1024, 1e-4, 1000)
        assert (recipe.drop_encoders, recipe.dropout) == (0.464, 0), "together a tenth without any caption"
        assert recipe.ema * recipe.steps == pytest.approx(-100 / math.log(0.99), rel=0.01), (
            ".99 every 100 steps"
        )
        assert grid.evaluation == replace(PRESETS["paper"].evaluation, extractor=grid.evaluation.extractor)
