"""Plugins of the command: they join, workers run the copy that was submitted, and one that was edited is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import draw, grid, ideal
from flowbench._core import atomic

from ..runs import SMALL, cell_of
from .commands import forget
from .conftest import Ends

PLUGIN = """
from formulations import Formulation, register

@register("my/late(s)")
def late(s: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=lambda at: at.t ** s)

@register("my/fails")
def fails() -> Formulation:
    def weight(at):
        return [][0] if at.t.shape == (12, 8) else at.t

    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=weight)
"""
"""The check of the second one passes, and then it raises at the 12 steps of 8 images."""


def test_a_plugin_joins_fails_its_own_cells_alone_and_is_refused_when_edited(
    forked: Ends, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(PLUGIN)
    names = ["rf", "my/late(1.5)", "my/fails"]
    command = [*SMALL, "--plugin", str(file), "--formulations", *names, "--out", str(out)]
    assert grid.main(command) == 1
    printed = capsys.readouterr()
    failed = [line for line in printed.err.splitlines() if line.startswith("failed: ")]
    assert failed == ["failed: my/fails on shapes, seed 0: IndexError: list index out of range"]
    (copy,) = out.glob("code/*/plugins/*")
    assert copy.read_text() == PLUGIN
    assert str(copy) in (cell_of(out, "my/fails") / "error.txt").read_text(), "the copy was run"
    assert "Traceback" not in printed.err
    assert "rf " in printed.out
    assert "my/late(1.50)" in printed.out
    code = atomic.read_object(cell_of(out, "my/late(1.50)") / "status.json")["training"]["code"]
    assert code == copy.parents[1].name

    other = ["--out", str(tmp_path / "ideal"), "--train-images", "8"]
    assert ideal.main([str(out), "--plugin", str(file), *other]) == 0
    assert "| my/late(1.50) |" in capsys.readouterr().out
    forget()
    for main, argv in ((ideal.main, other), (draw.main, ["my/late(1.50)", "a red circle"])):
        assert main([str(out), *argv]) == 2
        said = capsys.readouterr().err
        assert said.startswith(
            "error: name the run's plugins with --plugin: no formulation is called 'my/late(1.5"
        )
        assert said.count("\n") == 1

    file.write_text(PLUGIN.replace("at.t ** s", "at.t ** (s + 1)"))
    forget()
    assert grid.main(command) == 2
    assert "'my/late(1.50)' has changed since" in capsys.readouterr().err
