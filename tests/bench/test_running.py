"""How long a worker still needs, and how many names a line holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench import plan, running
from bench.config import Grid
from bench.launch.activity import Doing
from bench.launch.submission import Submission
from bench.wording import names

from .run_folders import begin


def doing(submission: Submission, **beat: Any) -> Doing:
    return Doing(submission, 0, "running", beat={"pack": 0, "packs": 1, "share": 0.0} | beat)


def test_remaining(tmp_path: Path) -> None:
    made = begin(tmp_path, "1", [[0]], "local")
    spent = {"train": 900.0, "generate": 500.0, "metrics": 100.0}
    assert running.remaining(doing(made, share=0.001, seconds={"train": 3.0})) == ""
    assert running.remaining(doing(made, share=0.375, seconds={"train": 900.0})) == "over 5.0 minutes left"
    assert running.remaining(doing(made, share=0.75, seconds=spent)) == "10 minutes left"
    assert running.remaining(doing(made, pack=1, packs=2, share=0.25, seconds=spent)) == "15 minutes left"
    log = "pack 1 of 9: ...\ngoing on after step 800\npack 1 of 1: ...\ngoing on after step 500\n"
    made.log_file(0).write_text(log)
    assert running.remaining(doing(made, share=0.375, seconds={"train": 900.0})) == "over 15 minutes left"


def test_names_fill_a_line() -> None:
    made = plan.make(Grid(formulations=("paper",), datasets=("shapes", "digits")), Path("nowhere"))
    line = names(made.cells, made, 60)
    assert line.startswith("eps/linear shapes, ")
    assert line.endswith(f" and {122 - line.count(',') - 1} more")
    assert len(line) <= 60
    assert names(made.cells[:1], made, 3) == "eps/linear shapes"
