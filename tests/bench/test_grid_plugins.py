"""Plugins of the command: they join, workers run the copy that was submitted, and a mistake is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import grid

from .runs import SMALL, cell_of, run

PLUGIN = """
from formulations import Formulation, register

@register("my/late(s)")
def late(s: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=lambda at: at.t ** s)
"""


FAILS = """

@register("my/fails")
def fails() -> Formulation:
    def weight(at):
        return [][0] if at.t.shape == (12, 8) else at.t

    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=weight)
"""
"""Its check passes, and then it raises at the 12 steps of 8 images."""


def test_a_plugin_joins_fails_its_own_cells_alone_and_is_refused_when_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(PLUGIN + FAILS)
    names = ["rf", "my/late(1.5)", "my/fails"]
    command = [*SMALL, "--plugin", str(file), "--formulations", *names, "--out", str(out)]
    done = run(command)
    assert done.returncode == 1
    failed = [line for line in done.stderr.splitlines() if line.startswith("failed: ")]
    assert failed == ["failed: my/fails on shapes, seed 0: IndexError: list index out of range"]
    assert "mine.py" in (cell_of(out, "my/fails") / "error.txt").read_text()
    assert "Traceback" not in done.stderr
    assert "rf " in done.stdout
    assert "my/late(1.50)" in done.stdout
    (copy,) = out.glob("code/*/plugins/*")
    assert copy.read_text() == PLUGIN + FAILS
    code = json.loads((cell_of(out, "my/late(1.50)") / "status.json").read_text())["training"]["code"]
    assert code == copy.parents[1].name

    file.write_text((PLUGIN + FAILS).replace("at.t ** s", "at.t ** (s + 1)"))
    assert grid.main(command) == 2
    assert "'my/late(1.50)' has changed since" in capsys.readouterr().err


BROKEN = [
    ("import nothing_of_this_name", "nothing_of_this_name"),
    (PLUGIN.replace("at.t ** s", "1 / 0"), "ZeroDivisionError"),
    (PLUGIN.replace("at.t ** s", "at.t.sum()"), "shape"),
    (PLUGIN.replace("at.t ** s", "-at.t"), "w"),
    (PLUGIN.replace("(1 - t, t)", "(1 - t, 0 * t)"), "my/late"),
    (PLUGIN.replace("my/late(s)", "rf"), "rf"),
    ("x = (", "line 1"),
]


@pytest.mark.parametrize(("source", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_a_broken_plugin_is_one_sentence_and_leaves_nothing(
    source: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(source)
    out = tmp_path / "run"
    command = [*SMALL, "--plugin", str(tmp_path / "mine.py"), "--formulations", "my/late", "--out", str(out)]
    assert grid.main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert not out.exists()
