"""What a reader sees of a comparison with a baseline: a line for each rival, the table, and the command's options."""

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
from analysis.results import synthetic
from analysis.results.run import read
from analysis.tables import output
from analysis.tables.layout import Screen
from bench.metrics.catalogue import columns

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


def line(margin: float | None = None, **changes: object) -> str:
    only = row(**changes)
    found = Comparisons("rf", only.metric, margin, 0.05, DECLARED, (only,))
    (text,) = comparison.lines(found)
    assert text.startswith(f"rf/mode(1.29) against rf: {DECLARED[only.metric].label} ")
    return text.partition(f"{DECLARED[only.metric].label} ")[2]


def test_lines() -> None:
    whole = "-4.1 % [-15, +8.3], e 0.41, better with probability 0.77: undecided after 6 seeds (about 21 would decide)"
    assert line() == whole
    assert line(seeds_needed=None).endswith("undecided after 6 seeds (over 1,000 would decide)")
    assert line(n=1, low=-math.inf, high=math.inf, seeds_needed=None) == (
        "-4.1 % (no interval yet), e 0.41, better with probability 0.77: undecided after 1 seed"
    )
    assert line(n=0, estimate=math.nan) == "not compared yet, no seed is finished by both"
    clear = {"low": -123.4, "high": -0.0412, "e_value": 1e9, "p_better": 0.9999, "seeds_needed": 6}
    assert line(**clear, verdict="better") == (
        "-4.1 % [-120, -0.041], e over 10,000, better with probability over 0.99: better after 6 seeds"
    )
    assert line(2.5, verdict="equivalent").endswith("equivalent after 6 seeds (within ±2.5 %)")
    assert line(verdict="equivalent", estimate=0.0, low=0.0, high=0.0).startswith("0 % [0, 0],")
    clip = {"metric": "clip", "percent": False, "estimate": 0.31, "low": -0.1, "high": 0.72}
    assert line(**clip).startswith("+0.31 [-0.1, +0.72], e ")
    assert line(0.4, **clip, verdict="equivalent").endswith("(within ±0.4)")


def test_lines_of_lost_seeds() -> None:
    nan = dict.fromkeys(("estimate", "low", "high", "e_value", "p_better"), math.nan)
    own, bases = Lost("rf/mode(1.29)", "diverged", 1, 5), Lost("rf", "failed", 2, 6)
    assert line(**nan, lost=(own,)) == "not compared, diverged in 1 of 5 seeds"
    assert (
        line(**nan, lost=(own, bases)) == "not compared, diverged in 1 of 5 seeds, rf failed in 2 of 6 seeds"
    )


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
        (["--baseline", "rf", "--versus-paper"], "leave them out beside --versus-paper"),
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
