"""The column of the perfect network beside the 5-step one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import ideal, ranking, run
from samplers.errors import UserError

from .plotted import folder


def test_the_ranking_gets_what_the_steps_alone_leave(tmp_path: Path) -> None:
    found = folder(tmp_path, ("rf", "v/cos"), pictures=0)
    with pytest.raises(UserError, match=r"has no ideal\.json: run `python -m bench\.ideal"):
        ideal.add(ranking.of_run(found), found)
    usual = {"dataset": "synthetic", "solver": "euler", "grid": "native", "kid": 0.0}
    left = [
        usual | {"formulation": name, "steps": steps, "fid": fid}
        for name, steps, fid in (("rf", 5, 17.0), ("rf", 50, 1.0), ("v/cos", 5, 15.5))
    ]
    (tmp_path / ideal.FILE).write_text(json.dumps({"left": left}))
    ranked = ideal.add(ranking.of_run(run.read(tmp_path)), found).set_index("formulation")
    assert ranked["ideal_5"].to_dict() == {"rf": 17.0, "v/cos": 15.5}
    (tmp_path / ideal.FILE).write_text('{"left": 3}')
    with pytest.raises(UserError, match="cannot be read"):
        ideal.add(ranking.of_run(found), found)


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from analysis.rank import main

    folder(tmp_path, ("rf", "v/cos"), pictures=0)
    left = {
        "dataset": "synthetic",
        "steps": 5,
        "solver": "euler",
        "grid": "native",
        "fid": 17.25,
        "formulation": "rf",
    }
    (tmp_path / ideal.FILE).write_text(json.dumps({"left": [left]}))
    assert main([str(tmp_path), "--ideal", "--format", "md"]) == 0
    printed = capsys.readouterr().out
    assert "ideal FID at 5" in printed
    assert "17.25" in printed
