"""The options of ``bench.compare``, and its face in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import flowbench
from bench import compare
from bench.planning.decision import Decision
from bench.planning.plan import Against
from flowbench._core.errors import UserError

from .comparisons import RF


def test_the_last_one_named_is_the_baseline(plugin: Path) -> None:
    found = compare.parse([f"{plugin}:late(3)", "eps/linear", "rf/lognorm(0,1)"])
    assert found.grid.formulations == ("my/late(3.00)", "eps/linear", RF)
    assert found.against == Against(RF, Decision("fid", None))
    assert (found.plugins, found.minutes, found.grid.seeds) == ((plugin,), 10, 1000)
    assert found.out == Path("runs/compare").absolute()


def test_a_baseline_need_not_be_among_those_named(plugin: Path) -> None:
    found = compare.parse(["rf", "--minutes", "3", "v/cos", "--baseline", f"{plugin}:copy"])
    assert found.grid.formulations == ("rf", "v/cos", "my/copy")
    assert found.against == Against("my/copy", Decision())
    assert found.plugins == (plugin,)
    found = compare.parse(["rf", "v/cos", "--baseline", "rf"])
    assert (found.grid.formulations, found.against) == (("rf", "v/cos"), Against("rf", Decision()))


def test_every_option_changes_something(tmp_path: Path) -> None:
    usual = compare.parse(["rf", "v/cos"])
    for option, values in {
        "minutes": ["3"],
        "seeds": ["5"],
        "baseline": ["rf"],
        "metric": ["clip"],
        "margin": ["2"],
        "preset": ["smoke"],
        "out": [str(tmp_path)],
        "steps": ["7"],
        "settings": ["5:5", "7:1"],
        "datasets": ["shapes"],
        "first-seed": ["3"],
        "device": ["cpu"],
        "slots": ["2"],
        "pack": ["1"],
        "accumulate": ["2"],
        "recompute": ["blocks"],
        "replicas": ["2"],
        "shard": ["blocks", "--replicas", "2"],
        "probes": [],
        "compile": ["off"],
        "checkpoint": ["3"],
        "retry": ["failed"],
        "readable-by": ["all"],
    }.items():
        assert compare.parse(["rf", "v/cos", f"--{option}", *values]) != usual, option
    assert compare.parse(["rf", "v/cos", "--trust-folder"]) != usual


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["rf"], "rf has no other formulation to be compared with: name two"),
        (["rf", "v/cos", "rf"], "rf is named twice: leave one out"),
        (["rf", "edm(-1.2,1.2)", "edm(-1.20,1.20)"], "is named twice"),
        (["rf", "v/coz"], "v/coz"),
        (["rf", "nothing.py:late"], "nothing.py' is not a file"),
        (["rf", "v/cos", "--depths", "2", "3"], "unknown option '--depths': did you mean '--depth'"),
        (["rf", "v/cos", "--formulations", "rf"], "unknown option '--formulations'"),
        (["rf", "v/cos", "--preset", "scaling"], "one network, depth and number of steps"),
        (["rf", "v/cos", "--preset", "architectures"], "one network, depth and number of steps"),
        (["rf", "v/cos", "--metric", "fids"], "--metric 'fids': did you mean 'fid'"),
        (["rf", "v/cos", "--metric", "composition"], "needs the datasets shapes or scenes"),
        (["rf", "v/cos", "--margin", "0"], "--margin 0: must be a finite number greater than 0"),
        (["rf", "v/cos", "--minutes", "0"], "--minutes 0: must be"),
        (["rf", "v/cos", "--seeds", "1001"], "1000"),
    ],
)
def test_mistakes_are_one_sentence(
    argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare.main([*argv, "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_damaged_name_of_python_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="rf is named twice"):
        flowbench.compare("rf", "rf", out=tmp_path)
