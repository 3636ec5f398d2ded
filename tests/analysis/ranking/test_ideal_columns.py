"""The column of the perfect network next to the 5-step one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ranking import ideal_columns, ranking
from analysis.ranking.notes import notes
from analysis.runs.run import Run
from flowbench._core.errors import UserError

from ..plotted import folder


def write(about: Run, left: Callable[[dict[str, Any]], float | None]) -> None:
    """The file of ``bench.ideal`` with a FID for each dataset, formulation and setting of a run; None leaves it out."""
    keys = about.frame[list(ideal_columns.SETTING)].drop_duplicates().to_dict("records")
    rows = [{**key, "fid": left(key), "kid": 0.0} for key in keys if left(key) is not None]
    (about.path / ideal_columns.FILE).write_text(json.dumps({"left": rows}))


def test_the_ranking_gets_what_the_steps_alone_leave(tmp_path: Path) -> None:
    found = folder(tmp_path, ("rf", "v/cos"), pictures=0)
    with pytest.raises(UserError, match=r"has no ideal\.json: run `python -m bench\.ideal"):
        ideal_columns.add(ranking.rank(found), found)
    write(found, lambda key: 100 / key["steps"] + (key["formulation"] == "rf"))
    ranked = ideal_columns.add(ranking.rank(found), found).frame().set_index("formulation")
    assert ranked["ideal_5"].to_dict() == {"rf": 21.0, "v/cos": 20.0}
    measured = found.frame[found.frame["steps"] == 5].groupby("formulation")["fid"].mean()
    assert ranked["fid_5"].to_dict() == pytest.approx(measured.to_dict())
    (tmp_path / ideal_columns.FILE).write_text('{"left": 3}')
    with pytest.raises(UserError, match="cannot be read"):
        ideal_columns.add(ranking.rank(found), found)


def test_both_parts_are_means_over_the_same_settings(tmp_path: Path) -> None:
    """Two settings of ddim and one of euler, whose grid differs; rf lacks a measurement, eps/linear a perfect one."""
    settings = ((5, 5.0, "ddim"), (5, 2.0, "ddim"), (5, 5.0, "euler", "clock"), (50, 5.0))
    found = folder(tmp_path, ("rf", "v/cos", "eps/linear"), pictures=0, settings=settings, seeds=1)
    methods = {("ddim", "native"): 1.0, ("euler", "clock"): 4.0, ("euler", "native"): 1000.0}

    def left(key: dict[str, Any]) -> float | None:
        lost = key["formulation"] == "eps/linear" and key["grid"] == "clock"
        return None if lost else methods[key["solver"], key["grid"]]

    write(found, left)
    frame = found.frame
    gone = (frame["formulation"] == "rf") & (frame["steps"] == 5) & (frame["cfg"] == 2)
    frame.loc[gone, "fid"] = np.nan
    ranked = ideal_columns.add(ranking.rank(found), found).frame().set_index("formulation")
    assert ranked["ideal_5"]["v/cos"] == pytest.approx((1 + 1 + 4) / 3)
    assert ranked["ideal_5"]["rf"] == pytest.approx((1 + 4) / 2)
    assert ranked.loc["eps/linear", ["fid_5", "ideal_5"]].isna().all()
    (note,) = (line for line in notes(ideal_columns.add(ranking.rank(found), found)) if "known of" in line)
    assert note.startswith("ideal FID at 5 is known of 2 of 3 formulations: ")
    few = frame[frame["steps"] == 5].groupby("formulation")["fid"].mean()
    assert ranked["fid_5"]["rf"] == pytest.approx(few["rf"])
    write(found, lambda key: methods[key["solver"], key["grid"]] if key["steps"] == 50 else None)
    with pytest.raises(UserError, match="lacks settings of 5 steps that the run has"):
        ideal_columns.add(ranking.rank(found), found)


def test_the_command_shows_which_part_of_the_fid_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from analysis.rank import main

    found = folder(tmp_path, ("rf", "v/cos"), pictures=0)
    write(found, lambda key: 17.25)
    assert main([str(tmp_path), "--ideal", "--format", "json"]) == 0
    (rf,) = (r for r in json.loads(capsys.readouterr().out)["ranking"] if r["formulation"] == "rf")
    assert rf["ideal_5"] == 17.25
    for extra in ([], ["--families"], ["--top", "1"]):
        assert main([str(tmp_path), "--ideal", "--format", "md", *extra]) == 0
        printed = capsys.readouterr().out
        assert "ideal FID at 5" in printed
        assert f"17.25 of {rf['fid_5']:.2f}" in printed
        assert "one that has memorised the training images" in printed
        assert "ideal FID at 5 is known of" not in printed
