"""Mistakes in plugins of the command: each is one sentence, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import grid

from .runs import SMALL

PLUGIN = """
from formulations import Formulation, register

@register("my/late(s)")
def late(s: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t), target=lambda at: (at.da, at.db), weight=lambda at: at.t ** s)
"""

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
