"""Choosing rows, and recipes that may not be mixed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.ranking.notes import notes
from analysis.ranking.ranking import rank
from analysis.runs import recipe_fields, schema, synthetic
from analysis.runs.run import read
from analysis.runs.schema import Results
from analysis.runs.where import choose
from flowbench._core.errors import UserError


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    truth = synthetic.Truth(("rf", "rf/mode(1.29)"), (0.0, 1.0))
    return synthetic.write(folder, truth, seeds=2, samples=8, sizes=((1, 500), (2, 500), (2, 1000)))


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("dataset=synthetic", 144),
        ("steps=50", 72),
        ("cfg=2.5", 24),
        ("seed=1", 72),
        ("weights=ema", 72),
        ("formulation=rf", 72),
        ("formulation=rf/*", 72),
        ("model.depth=2", 96),
        ("training.steps=1000", 48),
        ("evaluation.samples=8", 144),
    ],
)
def test_rows_of_a_value(sweep: Path, condition: str, count: int) -> None:
    assert len(read(sweep, [condition]).frame) == count


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        ("formulation=rf/lognorm(0, 1)", [0]),
        ("formulation=*/lognorm(0,1)", [0, 1]),
        ("formulation=rf/mode(1.290)", [2]),
        ("training.objective=huber(0.1)", [1, 2]),
        ("training.objective=huber(.100)", [1, 2]),
    ],
)
def test_numbers_in_text_have_any_spelling(wanted: str, kept: list[int]) -> None:
    names = ["rf/lognorm(0.00,1.00)", "my/lognorm(0.00,1.00)", "rf/mode(1.29)"]
    recipes = [f'{{"training":{{"objective":"{o}"}}}}' for o in ("flow", "huber(0.10)", "huber(0.10)")]
    frame = pd.DataFrame({"formulation": names, "recipe": recipes, "seed": range(3)})
    assert list(choose(Results(frame, {}), [wanted]).frame["seed"]) == kept
    with pytest.raises(UserError, match=r"did you mean 'huber\(0.10\)'"):
        choose(Results(frame, {}), ["training.objective=huber(0.2)"])


def test_conditions_add_up_and_are_kept(sweep: Path) -> None:
    conditions = ["model.depth=2", "training.steps=1000", "steps=5"]
    some = read(sweep, conditions)
    assert some.where == tuple(conditions)
    assert list(some.frame.index) == list(range(8))


@pytest.mark.parametrize(
    ("condition", "sentence"),
    [
        ("steps", "is not NAME=VALUE, for example steps=50"),
        ("stps=5", "stps=...: unknown name; did you mean 'steps'"),
        ("model.dept=5", "unknown name; did you mean 'model.depth'"),
        ("steps=20", "has no such rows; known: 10, 25, 5, 50"),
        ("formulation=rf/mode(1.92)", r"has no such rows; did you mean 'rf/mode\(1.29\)'"),
    ],
)
def test_mistakes(sweep: Path, condition: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(sweep, [condition])


def test_a_value_of_other_rows_is_not_offered(sweep: Path) -> None:
    with pytest.raises(
        UserError, match=r"seed=1: .* no such rows among those of the conditions before; known: 0$"
    ):
        read(sweep, ["seed=0", "seed=1"])


def test_a_field_that_is_a_list() -> None:
    frame = pd.DataFrame({"formulation": ["rf"], "recipe": '{"layers":[1,2]}'})
    with pytest.raises(UserError, match=r"no such rows; known: \[1, 2\]$"):
        choose(Results(frame, {}), ["layers=3"])


def test_a_table_without_recipes_has_no_fields_of_them() -> None:
    frame = pd.DataFrame({"formulation": ["rf"], "dataset": "shapes", "steps": 5})
    with pytest.raises(UserError, match="unknown name"):
        choose(Results(frame, {}), ["model.depth=4"])


def test_different_recipes_are_never_mixed(sweep: Path) -> None:
    parts = r"\(model.depth 1 and 2; training.steps 500 and 1000\)"
    message = rf"mixes 3 recipes.*{parts}.*--where model.depth=1 training.steps=500; analysis.scaling"
    with pytest.raises(UserError, match=message):
        schema.comparable(read(sweep))
    schema.comparable(read(sweep, ["model.depth=1"]))
    with pytest.raises(UserError, match=r"mixes 2 recipes.*\(training.steps 500 and 1000\)"):
        schema.comparable(read(sweep, ["model.depth=2"]))


def test_differing_names_every_field() -> None:
    one, other = '{"a":{"b":1,"c":[1,2]},"d":true}', '{"a":{"b":2,"c":[1,2]}}'
    assert recipe_fields.differing([one, other, one]) == {"a.b": [1, 2], "d": [True, None]}
    assert recipe_fields.differing([one, one]) == {}


def test_formulations_that_are_ranked_among_themselves_are_said_to_be() -> None:
    """Fewer rivals give other marks and intervals; rows of one setting are announced by the first line."""
    about = {"formulation": ["rf", "v/cos", "edm/rf"] * 2, "seed": [0] * 3 + [1] * 3, "steps": 5, "cfg": 5.0}
    made = {"dataset": "x", "weights": "ema", "clip": range(6), "fid": range(6, 0, -1)}
    made_up = schema.check(pd.DataFrame({**about, **made}))
    note = "only formulation=[re]*, formulation=rf: ranked among themselves, as if there were no others"
    assert note in notes(rank(choose(made_up, ["formulation=[re]*", "formulation=rf"])))
    for whole in (made_up, choose(made_up, ["steps=5"])):
        assert not any("among themselves" in line for line in notes(rank(whole)))
