"""Solvers and time grids at equal numbers of evaluations: tables whose differences are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import solvers
from analysis.comparisons.baseline import Comparison, against
from analysis.runs import run, synthetic

from .rankings import results

NOISE = np.random.default_rng(3).normal(size=(20, 8))
"""Of seeds, then of methods in each: the first is that of the seed."""


def rows(effects: Mapping[str, Mapping[str, float]], seeds: int = 6, **more: Any) -> list[dict[str, Any]]:
    """FID 10 e^(seed + effect + noise / 100) by formulation and setting; seeds differ much more than methods."""
    made = []
    for name, of in effects.items():
        for place, (key, effect) in enumerate(of.items(), 1):
            steps, cfg, *way = key.split(":")
            setting = {"steps": int(steps), "cfg": float(cfg)} | dict(
                zip(("solver", "grid"), way, strict=False)
            )
            for seed in range(seeds):
                noise = NOISE[seed, 0] + effect + NOISE[seed, place] / 100
                about = {"formulation": name, "dataset": "digits", "weights": "ema", "seed": seed}
                made.append(about | setting | {"fid": 10 * np.exp(noise), "clip": 30 + effect} | more)
    return made


TRUTH = {
    "rf": {
        "5:5:euler:clock": 0.0,
        "3:5:heun:clock": -0.3,
        "5:5:ab2:clock": 0.2,
        "11:5:euler:clock": -0.5,
        "6:5:heun:clock": -0.4,
    },
    "v/cos": {"5:5:euler:clock": 1.0, "5:5:ab2:clock": 0.5, "25:5:ab2:clock": 0.5},
}


def cells(effects: Any = TRUTH, metric: str = "fid", **options: Any) -> dict[tuple[str, str, int], Any]:
    methods, _ = solvers.with_methods(results(pd.DataFrame(rows(effects, **options))))
    return {
        (c.group[3], c.method, c.evaluations): c.found
        for c in solvers.compared(methods, "euler:clock", metric, None)
    }


def test_the_known_differences_at_equal_evaluations() -> None:
    found = cells()
    assert list(found) == [
        ("rf", "euler:clock", 5),
        ("rf", "ab2:clock", 5),
        ("rf", "heun:clock", 5),
        ("rf", "euler:clock", 11),
        ("rf", "heun:clock", 11),
        ("v/cos", "euler:clock", 5),
        ("v/cos", "ab2:clock", 5),
    ], "and no ab2 at 25 evaluations, where the baseline has no setting"
    differences = {key: row for key, row in found.items() if isinstance(row, Comparison)}
    truths = {
        ("rf", "ab2:clock", 5): 0.2,
        ("rf", "heun:clock", 5): -0.3,
        ("rf", "heun:clock", 11): 0.1,
        ("v/cos", "ab2:clock", 5): -0.5,
    }
    assert differences.keys() == truths.keys()
    for key, truth in truths.items():
        row = differences[key]
        assert row.estimate == pytest.approx(100 * np.expm1(truth), abs=2)
        assert row.low < 100 * np.expm1(truth) < row.high
        assert row.verdict == ("better" if truth < 0 else "worse")
    own = np.exp(np.log(10) + NOISE[:6, 0] + NOISE[:6, 1] / 100)
    assert found["rf", "euler:clock", 5].mean == pytest.approx(np.exp(np.log(own).mean()))


def test_a_cell_is_what_the_comparison_of_formulations_finds() -> None:
    by_name = results(pd.DataFrame(rows({"rf": dict(zip(("5:5", "5:5:ddim"), (0.0, -0.3), strict=True))})))
    frame = by_name.frame.assign(
        formulation=[{"euler": "a", "ddim": "b"}[s] for s in by_name.frame["solver"]]
    )
    (expected,) = against(results(frame.assign(solver="euler")), "a", ()).rows
    methods, _ = solvers.with_methods(by_name)
    (row,) = (c.found for c in solvers.compared(methods, "euler", "fid", None) if c.method == "ddim")
    assert isinstance(row, Comparison)
    assert vars(row) | {"formulation": "b"} == vars(expected)


def test_groups_are_apart_and_what_cannot_be_counted_is_named() -> None:
    both = rows(TRUTH) + rows(
        {"rf": {"5:1:euler:clock": 0.0, "5:1:ab2:clock": 0.9}, "eps": {"5:1:of_a_plugin": 0.0}}
    )
    table = solvers.table(results(pd.DataFrame(both)), "euler:clock")
    shown = table.cells.set_index(["guidance", "formulation", "method"])["5 evaluations"]
    assert shown["1", "rf", "ab2:clock"].startswith("+150 %")
    assert shown["5", "rf", "ab2:clock"].startswith("+21 %")
    assert any("of_a_plugin" in note for note in table.notes)
    assert table.cells.set_index("method").loc["ab2:clock", "11 evaluations"].tolist() == ["", "", ""]


def test_states_and_equal_images() -> None:
    made = rows({"rf": {"5:5:euler:clock": 0.0, "5:5": 0.0, "5:5:ab2:clock": 0.2}}, seeds=3)
    for row in made:
        if "solver" not in row:
            row["fid"] = next(
                r["fid"] for r in made if r.get("solver") == "euler" and r["seed"] == row["seed"]
            )
        if row.get("solver") == "ab2" and row["seed"] == 1:
            row |= {"status": "diverged", "fid": np.nan}
    shown = solvers.table(results(pd.DataFrame(made)), "euler:clock").cells.set_index("method")[
        "5 evaluations"
    ]
    assert shown["euler"] == "same"
    assert shown["ab2:clock"] == "not compared: diverged in 1 of 3 seeds"


def test_the_command_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [(5, 5.0, "euler", "clock"), (3, 5.0, "heun", "clock"), (5, 1.0, "euler", "clock"), (5, 1.0)]
    folder = tmp_path / "run"
    folder.mkdir()
    synthetic.write(
        folder, synthetic.Truth(("rf", "v/cos"), (0.0, 1.0)), settings=settings, weights=("ema",), seeds=4
    )
    for format, mark in (
        ("table", "heun:clock"),
        ("md", "| rf"),
        ("csv", "seeds_needed"),
        ("latex", "heun:clock"),
    ):
        assert solvers.main([str(folder), "--where", "cfg=5", "--format", format]) == 0
        assert mark in capsys.readouterr().out
    assert solvers.main([str(folder), "--metric", "clip", "--margin", "50", "--format", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["compared"] == {"baseline": "euler:clock", "metric": "clip", "margin": 50.0, "level": 0.05}
    found = {(r["cfg"], r["formulation"], r["method"]): r for r in made["solvers"]}
    assert len(found) == len(made["solvers"]) == 8
    assert found[5.0, "rf", "heun:clock"]["verdict"] == "equivalent"
    frame = run.read(folder).frame
    own = frame[(frame["formulation"] == "rf") & (frame["cfg"] == 5) & (frame["solver"] == "euler")]
    assert found[5.0, "rf", "euler:clock"]["mean"] == pytest.approx(own["clip"].mean())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--baseline", "euler:clok"], "'euler:clok' is not in the table; did you mean 'euler:clock'"),
        (["--metric", "fdi"], "there is no metric 'fdi'"),
        (["--metric", "val_loss"], "which no solver changes"),
        (["--margin", "-1"], "not a positive number"),
        (
            ["--where", "formulation=v/cos", "steps=25", "--baseline", "ab2:clock"],
            "there is nothing to compare",
        ),
    ],
)
def test_mistakes_get_a_sentence(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame(rows(TRUTH, val_loss=0.1)).to_csv(path, index=False)
    assert solvers.main([str(path), *words]) == 2
    assert message in capsys.readouterr().err
