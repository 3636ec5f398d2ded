"""How long a worker still needs, and how many names a line holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.config.experiment import Grid
from bench.cost import workload
from bench.cost.workload import progress
from bench.launch.activities import Activity
from bench.machine.stage_timer import Stages
from bench.planning import plan
from bench.planning.labels import names
from bench.runfolder.lease import Lease
from bench.runfolder.submission import Submission
from bench.status.plan_state import PlanState
from bench.status.running import row, starting
from bench.worker.heartbeat import Heartbeat
from flowbench._core import atomic

from ..run_folders import GRID, begin


def activity(submission: Submission, **beat: Any) -> Activity:
    usual = {"pack": 0, "packs": 1, "share": 0.0, "before": [0, 0], "part": [1, 1], "resumed": 0}
    return Activity(submission, 0, "running", beat=usual | beat)


def test_remaining(tmp_path: Path) -> None:
    made = begin(tmp_path, "1", [[0]], "local")
    spent = {"train": 900.0, "generate": 500.0, "metrics": 100.0}
    half = {"pack": 1, "packs": 2, "before": [0.5, 0.5], "part": [0.5, 0.5]}
    assert workload.left(activity(made, share=0.001, seconds={"train": 3.0}).beat) == ""
    assert (
        workload.left(activity(made, share=0.375, seconds={"train": 900.0}).beat)
        == "5.0 minutes of training left"
    )
    assert workload.left(activity(made, share=0.75, seconds=spent).beat) == "10 minutes left"
    assert workload.left(activity(made, share=0.5, seconds={"train": 900.0}).beat) == "", (
        "of the rest nothing is known"
    )
    assert workload.left(activity(made, share=0.25, seconds=spent, **half).beat) == "15 minutes left"
    there = {"share": 0.375, "seconds": {"train": 900.0}, "resumed": 0.5}
    assert workload.left(activity(made, **there).beat) == "15 minutes of training left"


def test_a_worker_reports_from_the_first_moment_what_it_does(tmp_path: Path) -> None:
    made = begin(tmp_path, "1", [[0]], "local")
    heartbeat = Heartbeat(Lease(made, 0, "t"), Stages())
    assert starting(activity(made, **heartbeat.now)) == "starting: preparing the device"


def test_remaining_of_packs_of_several_sizes(tmp_path: Path) -> None:
    """The first pack is a tenth of the training and a fifth of the evaluation: what is left follows from what it took."""
    made = begin(tmp_path, "1", [[0]], "local")
    spent = {"train": 60.0, "generate": 60.0, "metrics": 0.0}
    later = {"pack": 1, "packs": 2, "before": [0.1, 0.2], "part": [0.9, 0.8], "seconds": spent}
    assert workload.left(activity(made, **later).beat) == "13 minutes left"
    assert progress(activity(made, **later).beat) == pytest.approx(0.15)
    assert progress(activity(made, **later | {"share": 1.0}).beat) == pytest.approx(1.0)


def test_names_fill_a_line() -> None:
    made = plan.make(Grid(formulations=("paper",), datasets=("shapes", "digits")), Path("nowhere"))
    line = names(made.cells, made, 60)
    assert line.startswith("eps/linear shapes, ")
    assert line.endswith(f" and {122 - line.count(',') - 1} more")
    assert len(line) <= 60
    assert names(made.cells[:1], made, 3) == "eps/linear shapes"


def test_a_heartbeat_of_an_earlier_start_is_not_shown(tmp_path: Path) -> None:
    made = begin(tmp_path, "1", [[0]], "local")
    atomic.write_json(made.state_file(0), {"token": "new", "state": "running"})
    now = PlanState(plan.make(GRID, tmp_path), (), {}, None, {})
    assert row(now, activity(made, token="old", stage="train", text="step 9 of 12"))[-1] == "starting"
    assert row(now, activity(made, token="new", stage="start", text="loading"))[-1] == "starting: loading"
