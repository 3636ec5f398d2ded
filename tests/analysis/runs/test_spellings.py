"""Names of columns and labels of rows as people write them: one meaning, or a sentence."""

from __future__ import annotations

import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.rank import main
from analysis.runs import schema
from analysis.runs.run import read
from analysis.runs.spellings import canonical
from bench.metrics import run_metrics
from flowbench._core.errors import Notice, UserError

from ..rankings import rank


def check(frame: pd.DataFrame) -> pd.DataFrame:
    return schema.check(frame).frame


def frame(**changed: object) -> pd.DataFrame:
    base = {
        "formulation": ["rf", "v/cos", "edm"],
        "dataset": "shapes",
        "weights": "ema",
        "steps": 5,
        "cfg": 5.0,
    }
    base |= {"seed": [0, 0, 0], "clip": [25.0, 24.0, 30.0], "fid": [10.0, 12.0, 5.0]}
    return pd.DataFrame({**base, "val_loss": 0.5, "status": ["done", "done", "diverged"], **changed})


@pytest.fixture(autouse=True)
def no_warning_unless_expected() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        yield


@pytest.mark.parametrize(
    "write", [str.upper, str.title, lambda n: f" {n} ", lambda n: n.replace("_", " "), str]
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_columns_are_known_without_case_and_blanks(write: object, kind: str, tmp_path: Path) -> None:
    """A diverged row whose status is not read would be the best."""
    renamed = frame().rename(columns=write)  # type: ignore[arg-type]
    file = tmp_path / f"a.{kind}"
    renamed.to_csv(file, index=False) if kind == "csv" else renamed.to_parquet(file)
    pd.testing.assert_frame_equal(read(file).frame, check(frame()), check_dtype=False)
    assert rank(renamed).names == ("rf", "v/cos", "edm")


@pytest.mark.parametrize("levels", [["status"], ["formulation", "seed"], ["Status", "SEED", "Val_Loss"]])
def test_levels_of_the_index_are_columns(levels: list[str], tmp_path: Path) -> None:
    kept = frame().rename(columns={name.lower(): name for name in levels}).set_index(levels)
    kept.to_parquet(tmp_path / "a.parquet")
    expected = check(frame())
    for found in (read(tmp_path / "a.parquet").frame, check(kept)):
        pd.testing.assert_frame_equal(found[expected.columns], expected, check_dtype=False)


def test_an_index_without_a_name_is_dropped() -> None:
    pd.testing.assert_frame_equal(check(frame().set_axis([7, 8, 9])), check(frame()))


@pytest.mark.parametrize(("name", "meant"), [("stauts", "status"), ("val-los", "val_loss"), ("sed", "seed")])
def test_a_near_miss_is_named(
    name: str, meant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    misspelt = frame().rename(columns={meant: name})
    sentence = f"column {name!r} is ignored: did you mean {meant!r}?"
    with pytest.warns(Notice, match="is ignored: did you mean"):
        check(misspelt)
    misspelt.to_csv(tmp_path / "a.csv", index=False)
    assert main([str(tmp_path / "a.csv")]) == 0
    err = capsys.readouterr().err
    assert err == f"warning: {tmp_path / 'a.csv'!s}: {sentence}\n"


def test_known_and_foreign_columns_are_no_near_misses() -> None:
    check(frame(note="a", machine="b"))
    known = schema.Columns(tuple(metric.name for metric in run_metrics.columns())).known
    whole = frame(**{name: None for name in known if name not in frame()})
    check(whole.assign(solver="euler", grid="native", extra="a"))


def test_two_columns_of_one_name_are_an_error() -> None:
    with pytest.raises(UserError, match="has the column 'status' twice: as 'status' and 'Status'"):
        check(frame(Status="done"))
    with pytest.raises(UserError, match="has the column 'clip' twice"):
        check(pd.concat([frame(), frame()[["clip"]]], axis="columns"))
    with pytest.raises(UserError, match="has 'seed' as a column and as a level of its index"):
        check(frame().set_index("seed", drop=False))


def test_words_are_known_without_case() -> None:
    assert check(frame(status=[" Done", "DONE", "Diverged"]))["status"].tolist() == [
        "done",
        "done",
        "diverged",
    ]


def test_rounding_makes_no_settings() -> None:
    """A guidance scale that went through float32, and a seed that a spreadsheet computed."""
    mixed = frame(cfg=[1.1, float(np.float32(1.1)), 1.1], seed=[3.0, 3.0000000001, 3])
    found = check(mixed)
    assert found["cfg"].tolist() == [1.1] * 3
    assert found["seed"].tolist() == [3] * 3
    assert rank(mixed).facts.settings == 1
    large = check(frame(seed=[2**53 - 1, 2**53 - 2, 2**53 - 3]))
    assert large["seed"].nunique() == 3, "whole numbers are not rounded"
    with pytest.raises(UserError, match="whole number"):
        check(frame(seed=[0, 0.001, 0]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rf/lognorm(0,1)", "rf/lognorm(0.00,1.00)"),
        ("rf/lognorm( 0.0 , 1 )", "rf/lognorm(0.00,1.00)"),
        ("edm(-1.2,1.2)", "edm(-1.20,1.20)"),
        ("edm/rf(B)", "edm/rf(B)"),
        ("v/cos/shift(3,cosmap)", "v/cos/shift(3.00,cosmap)"),
        ("rf/mode(1.29)", "rf/mode(1.29)"),
        ("rf", "rf"),
        ("ours v(2)", "ours v(2)"),
        ("rfx(1)", "rfx(1)"),
        ("my/late(2)", "my/late(2)"),
    ],
)
def test_our_names_have_one_spelling(name: str, expected: str) -> None:
    assert canonical(name) == expected
    assert canonical(expected) == expected


def test_two_spellings_of_a_name_are_one_formulation() -> None:
    two = pd.concat(
        [frame(formulation="rf/lognorm(0,1)").head(1), frame(formulation="rf/lognorm(0.00,1.00)").head(1)]
    )
    with pytest.raises(UserError, match="rows that repeat one another"):
        check(two)
    assert rank(two.assign(seed=[0, 1])).names == ("rf/lognorm(0.00,1.00)",)


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("dataset", "Shapes", "shapes"),
        ("weights", "EMA", "ema"),
        ("formulation", "our rf", "our  rf"),
        ("formulation", "my\u00a0rf", "my rf"),
        ("formulation", "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")),
    ],
)
def test_labels_that_look_alike_are_named(column: str, one: str, other: str) -> None:
    alike = frame(formulation=["a", "b", "c"]).assign(**{column: [one, other, "another"]})
    with pytest.warns(Notice) as caught:
        check(alike)
    (sentence,) = [str(w.message) for w in caught]
    assert sentence.startswith(f"the table: {column} ")
    assert sentence.endswith(" look alike, and are taken for 2")
    first, second = sentence.split(f"{column} ")[1].split(" look")[0].split(" and ")
    assert first != second


@pytest.mark.parametrize("letter", ["\x1b", "\x00", "\u2028", "\x85", "\t"])
def test_a_name_has_no_control_characters(letter: str) -> None:
    with pytest.raises(UserError, match="not a name on one line"):
        check(frame(formulation=["rf", f"a{letter}b", "c"]))
