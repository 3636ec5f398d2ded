"""What a reader sees of a comparison with a baseline: the table, and the command's options."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from analysis.comparisons import comparison
from analysis.comparisons.baseline import Comparison, Comparisons
from analysis.comparisons.paired import Lost
from analysis.rank import main
from analysis.runs import synthetic
from analysis.runs.run import read
from analysis.tables import output
from analysis.tables.layout import Screen
from bench.metrics.run_metrics import columns

DECLARED = {metric.name: metric for metric in columns()}


def row(**changes: object) -> Comparison:
    made: dict[str, object] = {
        "formulation": "rf/mode(1.29)",
        "metric": "fid",
        "percent": True,
        "n": 6,
        "estimate": -4.1234,
        "low": -15.1,
        "high": 8.31,
        "e_value": 0.412,
        "p_better": 0.768,
        "verdict": "undecided",
        "seeds_needed": 21,
    }
    return Comparison(**(made | changes))  # type: ignore[arg-type]


def cells(**changes: object) -> list[str]:
    """Difference, e-value, P(better), verdict and seeds of a row, as they are written."""
    only = row(**changes)
    made = comparison.table(Comparisons("rf", only.metric, None, 0.05, DECLARED, (only,))).cells
    return list(made.iloc[0])[2:]


def test_rows_are_written_with_two_digits() -> None:
    assert cells() == ["-4.1 % [-15, +8.3]", "0.41", "0.77", "undecided", "6", "21"]
    assert cells(seeds_needed=None)[-1] == "over 1,000"
    alone = cells(n=1, low=-math.inf, high=math.inf, seeds_needed=None)
    assert alone == ["-4.1 %", "0.41", "0.77", "undecided", "1", ""]
    assert cells(n=0, estimate=math.nan)[0] == ""
    clear = {"low": -123.4, "high": -0.0412, "e_value": 1e9, "p_better": 0.9999, "seeds_needed": 6}
    assert cells(**clear, verdict="better") == [
        "-4.1 % [-120, -0.041]",
        "over 10,000",
        "over 0.99",
        "better",
        "6",
        "",
    ]
    assert cells(estimate=0.0, low=0.0, high=0.0)[0] == "0 % [0, 0]"
    assert cells(metric="clip", percent=False, estimate=0.31, low=-0.1, high=0.72)[0] == "+0.31 [-0.1, +0.72]"


def test_lost_seeds_are_the_verdict() -> None:
    nan = dict.fromkeys(("estimate", "low", "high", "e_value", "p_better"), math.nan)
    own, bases = Lost("rf/mode(1.29)", "diverged", 1, 5), Lost("rf", "failed", 2, 6)
    assert cells(**nan, lost=(own,))[:4] == ["", "", "", "not compared: diverged in 1 of 5 seeds"]
    both = "not compared: diverged in 1 of 5 seeds, rf failed in 2 of 6 seeds"
    assert cells(**nan, lost=(own, bases))[3] == both


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    truth = synthetic.Truth(("rf", "eps/linear", "v/cos"), (1.0, 1.05, -9.0), noise=0.3)
    return synthetic.write(tmp_path, truth, seeds=7, samples=8, weights=("ema",))


def test_the_command_prints_it_below_the_ranking(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    alone = capsys.readouterr().out
    assert main([str(folder), "--baseline", "rf"]) == 0
    both = capsys.readouterr().out
    assert both.startswith(alone.rstrip("\n"))
    below = both[len(alone) :]
    assert below.lstrip("\n").startswith("Against rf\n")
    assert "probability of any false verdict is at most 5 % among 2 rivals, 2.5 % for each" in below
    assert "from 40 on the interval excludes 0" in below
    (worse,) = (text for text in below.splitlines() if text.startswith("v/cos ") and " FID " in text)
    assert worse.split()[-2:] == ["worse", "7"]
    assert main([str(folder), "--baseline", "rf", "--margin", "50"]) == 0
    assert "equivalent: the whole interval of FID is within ±50 %" in capsys.readouterr().out
    assert main([str(folder), "--baseline", "rf", "--metric", "clip", "--top", "1"]) == 0
    rows = capsys.readouterr().out.partition("Against rf")[2]
    assert "by CLIP the probability" in rows
    assert "v/cos" not in rows


def test_json_has_every_number(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--baseline", "rf", "--margin", "10", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["compared"] == {
        "baseline": "rf",
        "primary": "fid",
        "margin": 10.0,
        "level": 0.05,
        "rivals": 2,
    }
    assert [r["metric"] for r in found["comparisons"][:4]] == ["fid", "fid", "val_loss", "val_loss"]
    fid = found["comparisons"][0]
    means = read(folder).frame.groupby(["formulation", "seed"])["fid"].mean()
    expected = np.log(means["eps/linear"]).mean() - np.log(means["rf"]).mean()
    assert fid["estimate"] == pytest.approx(100 * math.expm1(expected))
    assert fid["low"] < fid["estimate"] < fid["high"]
    assert (fid["n"], fid["verdict"], fid["percent"], fid["lost"]) == (7, "undecided", True, "")


@pytest.mark.parametrize("format", ["md", "latex"])
def test_markup(folder: Path, format: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--baseline", "rf", "--format", format]) == 0
    assert capsys.readouterr().out.count("would need") == 2  # heading and note


def test_csv_is_the_ranking_and_a_notice_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--baseline", "rf", "--format", "csv"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("formulation,rank_all")
    assert "csv holds the first of 2 tables, ranking" in shown.err


def test_narrow_terminals_keep_the_verdict(folder: Path) -> None:
    from analysis.comparisons import baseline

    made = comparison.table(baseline.against(read(folder), "rf"))
    text = output.write([made], "table", Screen(width=70))
    assert "verdict" in text.splitlines()[2]
    assert "left out for want of width: e-value" in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metric", "clip"], "name the formulation to compare with, --baseline NAME"),
        (["--margin", "2"], "name the formulation to compare with, --baseline NAME"),
        (["--baseline", "eps/lin"], "'eps/lin' is not in the table; did you mean 'eps/linear'"),
        (["--baseline", "rf", "--metric", "clp"], "no metric 'clp'; did you mean 'clip'"),
        (["--baseline", "rf", "--margin", "0"], "the margin is 0, not a positive number"),
        (["--baseline", "rf", "--margin", "x"], "'x' is not a number"),
        (["--baseline", "eps/linear", "--top", "1"], "eps/linear is the only formulation to show"),
        (["--baseline", "rf", "--versus-paper"], "leave them out with --versus-paper"),
    ],
)
def test_mistakes_are_one_sentence(
    folder: Path, options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_what_the_ranking_leaves_out_is_compared_on_its_own_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = synthetic.Truth(("rf", "eps/linear", "v/cos"), (1.0, 1.05, -9.0), noise=0.3)

    def state(name: str, dataset: str, seed: int) -> str | None:
        return "pending" if name == "v/cos" and seed > 4 else None

    synthetic.write(tmp_path, truth, seeds=12, samples=8, weights=("ema",), status=state)
    assert main([str(tmp_path), "--baseline", "rf", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "v/cos" not in [row["formulation"] for row in found["ranking"]]
    seeds = {row["formulation"]: row["n"] for row in found["comparisons"]}
    assert seeds == {"eps/linear": 12, "v/cos": 5}
