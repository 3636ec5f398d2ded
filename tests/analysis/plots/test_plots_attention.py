"""Attention's probes from the logs of a run, and its archive, to a figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import archive, plots
from analysis.runs import cell_contents, run
from analysis.runs.run import Run

from ..plotted import FEW, folder, ranked

BLOCKS = 7


def log(about: Run) -> None:
    """Add probes to the logs: block b of validation i has logit 10 i + b, and entropy 3 / i + b."""
    for _, cell in about.cells():
        file = about.path / "cells" / cell.id / "metrics.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for i, line in enumerate(lines, 1):
            line["attention_logit"] = [10 * i + b for b in range(BLOCKS)]
            line["attention_entropy"] = [3 / i + b for b in range(BLOCKS)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    about = folder(tmp_path_factory.mktemp("probed") / "run", FEW[:2], pictures=0)
    log(about)
    return about


def test_numbers_are_means_of_the_last_five_blocks(probed: Run) -> None:
    frame = cell_contents.curves(probed).sort_values("step")
    one = frame[frame["cell"] == frame["cell"].iloc[0]]
    assert one["attention_logit"].tolist() == [10 * i + 4 for i in range(1, 11)]
    assert np.allclose(one["attention_entropy"], [3 / i + 4 for i in range(1, 11)])


def test_the_figure_shows_both(probed: Run) -> None:
    (figure,), why = plots.draw(probed, ranked(probed), ["attention"])
    assert not why
    left, right = figure.figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("largest attention logit", "attention entropy, nats")
    (line,) = (line for line in left.get_lines() if line.get_label() == FEW[0])
    assert np.allclose(line.get_ydata(), [10 * i + 4 for i in range(1, 11)])
    assert "means over the last 5 blocks" in figure.caption


def test_an_archive_has_the_same(probed: Run, tmp_path: Path) -> None:
    list(archive.archive([probed.path], tmp_path / "out"))
    kept, here = (cell_contents.curves(about) for about in (run.read(tmp_path / "out"), probed))
    for name in ("attention_logit", "attention_entropy"):
        assert np.allclose(kept.sort_values(["cell", "step"])[name], here.sort_values(["cell", "step"])[name])


def test_a_run_without_them_has_no_figure_and_no_word(few: Run, tmp_path: Path) -> None:
    drawn, why = plots.draw(few, ranked(few), without=("samples",))
    assert "attention" not in [figure.name for figure in drawn] + list(why)
    _, why = plots.draw(few, ranked(few), ["attention"])
    assert why == {"attention": "no training has left numbers of attention (--probes)"}
