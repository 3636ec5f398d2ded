"""What ``--status`` and ``--watch`` print of run folders as the real code writes them."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from bench.config import stages
from bench.config.experiment import Grid, Training
from bench.launch.launchers import Job, write_jobs
from bench.planning import plan
from bench.planning.cells import cells_of
from bench.planning.labels import names
from bench.planning.plan import Plan
from bench.status import plan_state, status
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import table, wrapped

from ..run_folders import GRID, Slurm, about, begin, fail, put, silenced, supervised


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder that is not there yet, in the present folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(monkeypatch)


def shown(out: Path, capsys: pytest.CaptureFixture[str], grid: Grid = GRID) -> tuple[int, str]:
    """The exit code and what is printed."""
    code = status.show(plan.make(grid, out))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "\x1b" not in said
    return code, said


def test_nothing_there(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = shown(out, capsys)
    assert code == 0
    assert said == (
        "8 cells in run: 8 missing\nnothing has been submitted: without --status the same command begins\n"
    )
    assert not out.exists()


def test_all_is_done(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    supervised(begin(out, "1", [range(8)], "local"), 0, "settled")
    for number in range(7):
        put(out, number, "done")
    put(out, 7, "diverged")
    assert shown(out, capsys) == (
        0,
        "8 cells in run: 7 done, 1 diverged\n"
        "1 cell diverged: edm/rf seed 1\n"
        "next: without --status the same command ranks them\n",
    )


def test_the_next_morning(
    out: Path, capsys: pytest.CaptureFixture[str], slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part at once, on a cluster."""
    made = begin(out, "1", [[0], [1], [2], [3], [4], [5], [6, 7]])
    slurm.listed = [
        "71_0|RUNNING|node1|None",
        "71_1|RUNNING|node2|None",
        "71_2|RUNNING|node2|None",
        "71_3|PENDING||Resources",
        "71_4|PENDING||launch failed requeued held",
    ]
    slurm.accounted = ["71_6|OUT_OF_MEMORY|0:125", "71_3|PENDING|0:0"]
    beat = {
        "text": "step 500 of 1000, lowest validation loss 0.7 rf",
        "share": 0.25,
        "seconds": {"train": 600.0},
    }
    supervised(made, 0, "running", **beat)
    supervised(made, 1, "running", **beat)
    silenced(made, 1, 720)
    fail(out, 5, "RuntimeError: sizes do not fit", "plugins/0-my.py", "ab12")
    supervised(made, 5, "failed")
    put(out, 6, "stale")
    supervised(made, 6, "running")
    silenced(made, 6, 720)
    log = out / "submissions" / "1" / "slurm" / "0" / "71_6_0_log.err"
    atomic.write_text(log, "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.\n")
    code, said = shown(out, capsys)
    assert code == 1
    ids = [cell.id for cell in cells_of(GRID)]
    assert said == (
        "8 cells in run: 1 failed, 3 running, 2 queued, 1 stale, 1 missing\n"
        "  stale: begun, and no worker has it\n"
        "3 cells running, 3 workers\n"
        "  71_0  node1  1 cell  25%  10 minutes of training left  train step 500 of 1000\n"
        "  71_1  node2  1 cell  25%  silent for 12 minutes        train step 500 of 1000\n"
        "  71_2  node2  1 cell                                    starting\n"
        "1 cell queued, 1 worker: Resources\n"
        "1 cell queued, 1 worker: launch failed requeued held (look at its node, then:\n"
        "  scontrol release 71_4)\n"
        "1 cell failed: RuntimeError: sizes do not fit\n"
        "  eps/linear seed 1\n"
        '  | File "/usr/lib/python/bench/pack.py", line 40, in run\n'
        "  |   train_pack(pack, setup, bench)\n"
        '  | File "plugins/0-my.py", line 12, in weight\n'
        "  |   return x @ y\n"
        f"  run/cells/{ids[5]}/error.txt\n"
        "2 cells lost: OUT_OF_MEMORY 0:125 (ask for more with --slurm.mem)\n"
        "  v/cos seed 1, edm/rf seed 1\n"
        "  | slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.\n"
        "  run/submissions/1/slurm/0/71_6_0_log.err\n"
        "next: '--retry failed' instead of --status runs the failed cells and 2 others\n"
    )


def test_the_threads_of_workers(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is too long for a line has its activity on the next."""
    made, host = begin(out, "1", [[0], [1]], "local"), socket.gethostname()
    supervised(made, 0, "running", threads=1, share=0.25)
    supervised(
        made, 1, "running", threads=12, share=0.25, text="step 500 of 1000, " * 9, stage="train " + "x" * 40
    )
    lines = shown(out, capsys)[1].splitlines()
    assert lines[2].split() == f"pid 4711 #0 {host} 1 cell 1 thread 25% train".split()
    assert lines[3].split() == f"pid 4711 #1 {host} 1 cell 12 threads 25%".split()
    assert lines[4] == f"    train {'x' * 40} step 500 of 1000"
    assert lines[2].index("25%") == lines[3].index("25%")


def test_letters_that_take_two_columns() -> None:
    rows = [("流匹配", "a", "x"), ("rf", "bb", "流 " * 40)]
    first, second, third = table(rows)
    assert (first, second) == ("  流匹配  a   x", "  rf      bb")
    assert third.endswith("流 ...")
    assert 72 < cell_len(third) <= 80
    sentence = wrapped("流匹配 " * 30)
    assert [cell_len(line) for line in sentence] == [76, 78, 57]
    made = plan.make(GRID, Path("nowhere"))
    cells = [replace(p, cell=replace(p.cell, formulation="流匹配")) for p in made.cells]
    assert cell_len(names(cells, made, 50)) <= 50


def test_slurm_does_not_answer(out: Path, capsys: pytest.CaptureFixture[str], slurm: Slurm) -> None:
    """What is not finished may run or wait; only what was closed is known to be over."""
    made, closed = begin(out, "1", [[0], [1], [2], [3]]), begin(out, "0", [[4, 5]])
    atomic.write_text(closed.folder / "closed", "")
    slurm.down = True
    supervised(made, 0, "running")
    silenced(made, 0, 7200)
    put(out, 1, "done")
    supervised(made, 1, "settled")
    supervised(made, 3, "refused", "no GPU")
    code, said = shown(out, capsys)
    assert code == 1
    assert slurm.calls == ["squeue"], "asked once, and sacct not at all"
    assert said.splitlines()[1:] == [
        "1 cell running, 1 worker",
        "  71_0  here  1 cell  silent for 2.0 hours  starting",
        "1 cell queued, 1 worker: Slurm does not answer",
        "2 cells lost: Slurm lists it no more, and it left no result",
        "  rf seed 1, eps/linear seed 1",
        "1 cell refused: no GPU",
        "  edm/rf seed 0",
        "by the files alone: squeue does not answer (Connection refused): is slurmctld",
        "  up? try again",
        "next: without --status the same command continues with 5 cells",
    ]


def test_a_damaged_submission_is_no_matter_of_slurms(out: Path) -> None:
    made = begin(out, "1", [[0]])
    atomic.write_json(made.folder / "submission.json", {})
    with pytest.raises(UserError, match=r"submission\.json"):
        status.show(plan.make(GRID, out))


def test_many_workers_are_summed_up(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Silent ones and those behind come first."""
    grid = Grid(formulations=("rf",), seeds=20)
    made = begin(out, "1", [[i] for i in range(20)], "local", grid)
    for index in range(20):
        supervised(made, index, "running", share=(index + 1) / 25)
    silenced(made, 19, 300)
    lines = shown(out, capsys, grid)[1].splitlines()
    assert lines[1] == "20 cells running, 20 workers"
    host = socket.gethostname()
    assert (
        lines[2].split()
        == f"pid 4711 #19 {host} 1 cell 80% silent for 5 minutes train".replace("5 m", "5.0 m").split()
    )
    assert lines[3].split() == f"pid 4711 #0 {host} 1 cell 4% train".split()
    assert lines[-1] == "  and 8 workers more, 48% to 76%"


def test_local_endings(
    out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begin(out, "1", [[0], [1], [2], [3], [4], [5], [6]], "local")
    supervised(made, 0, "saved", "SIGTERM")
    supervised(made, 1, "killed", "the worker was killed by SIGKILL (out of memory?)")
    made.log_file(1).write_text("one\ntwo\nthree\nfour\nfive\n")
    supervised(made, 2, "held", "3 cells failed alike: no", "1")
    supervised(made, 3, "held", "4 cells failed alike: no", "1")
    supervised(made, 4, "unwritable", "cells/x: No space left on device", "errno28")
    supervised(made, 5, "settled")
    put(out, 0, "stale")
    put(out, 5, "trained")
    code, said = shown(out, capsys)
    assert code == 1
    assert said == (
        "8 cells in run: 1 queued, 1 stale, 1 trained, 5 missing\n"
        "  stale: begun, and no worker has it\n"
        "  trained: not yet measured with this evaluation\n"
        "1 cell queued, 1 worker: waits for a free slot\n"
        "2 cells held back: 3 cells failed alike: no\n"
        "  v/cos seed 0, edm/rf seed 0\n"
        "1 cell stopped and saved: SIGTERM\n"
        "  rf seed 0\n"
        "1 cell killed: the worker was killed by SIGKILL (out of memory?)\n"
        "  eps/linear seed 0\n"
        "  | two\n"
        "  | three\n"
        "  | four\n"
        "  | five\n"
        "  run/submissions/1/share-0001.log\n"
        "1 cell not written: cells/x: No space left on device\n"
        "  rf seed 1\n"
        "next: without --status the same command continues with 7 cells\n"
    )


def test_only_the_newest_submission_of_a_cell_counts(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    supervised(begin(out, "1", [[0, 1, 2]], "local"), 0, "killed", "long ago")
    supervised(begin(out, "2", [[0, 1]], "local"), 0, "saved", "SIGINT")
    atomic.write_text(begin(out, "3", [[2]], "local").folder / "cancelled", "")
    code, said = shown(out, capsys)
    assert code == 0
    assert said.splitlines()[1:-1] == [
        "2 cells stopped and saved: SIGINT",
        "  rf seed 0, eps/linear seed 0",
        "1 cell cancelled",
        "  v/cos seed 0",
    ]


def test_shares_that_slurm_never_took_are_not_lost(
    out: Path, capsys: pytest.CaptureFixture[str], slurm: Slurm
) -> None:
    made = begin(out, "1", [[0], [1]])
    write_jobs(made, [Job("71", (0,))])
    slurm.listed = ["71|PENDING||Priority"]
    assert shown(out, capsys) == (
        0,
        "8 cells in run: 1 queued, 7 missing\n"
        "1 cell queued, 1 worker: Priority\n"
        "next: without --status the same command continues with 7 cells\n",
    )


def test_other_configurations_and_other_attempts(
    out: Path, capsys: pytest.CaptureFixture[str], slurm: Slurm
) -> None:
    """A heartbeat of the attempt before a requeue means nothing for this one."""
    other = Grid(formulations=("rf",), training=Training(steps=77))
    supervised(begin(out, "1", [[0]], "local", other), 0, "running")
    made = begin(out, "2", [[0, 1]])
    slurm.listed = ["72|RUNNING|n1|None"]
    supervised(made, 0, "running", token="before", share=0.9)
    assert shown(out, capsys)[1].splitlines()[1:-1] == [
        "2 cells running, 1 worker",
        "  72  n1  2 cells  starting",
        "1 worker at cells of other configurations in this folder",
    ]


def test_failures_by_cause(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    supervised(begin(out, "1", [range(8)], "local"), 0, "failed")
    for number in range(3):
        fail(out, number, f"ValueError: too few, {number}", "a.py", "11")
    fail(out, 3, "OSError: " + "very " * 200 + "long", "b.py", "22")
    code, said = shown(out, capsys)
    lines = said.splitlines()
    assert code == 1
    assert lines[1:3] == [
        "3 cells failed: ValueError: too few, 0",
        "  rf seed 0, eps/linear seed 0, v/cos seed 0",
    ]
    long = lines.index("1 cell failed: OSError: " + "very very very very very very very very very very very")
    assert lines[long + 5].endswith(" ...")


def test_what_follows_a_diverged_cell_is_run_by_retry_all_only(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also two stages later, and where it is not marked as failed yet."""
    grid = stages.follow(stages.follow(GRID, "steps=200"), "steps=100")
    first = [cell for cell in cells_of(stages.first(grid)) if cell.formulation == "rf"]
    for cell in first:
        atomic.write_json(out / "cells" / cell.id / "status.json", {"state": "diverged"})
        atomic.write_json(out / "cells" / cell.id / "config.json", about(cell))
    _, said = shown(out, capsys, replace(grid, formulations=("rf",)))
    assert "next: '--retry all' instead of --status trains diverged cells, and 4 cells" in said
    begin(out, "1", [[0]], "local", grid)
    put(out, 0, "failed", grid)
    _, said = shown(out, capsys, replace(grid, formulations=("rf",)))
    assert "--retry failed" not in said
    fail(out, 2, "RuntimeError: no", "my.py", "ab12", grid)
    _, said = shown(out, capsys, grid)
    assert "'--retry failed' instead of --status runs the failed cells and" in said
    assert "'--retry all'" in said


def test_without_torch_and_pandas(out: Path) -> None:
    script = (
        "import sys\nfrom bench.status import status\n"
        "assert not {'torch', 'pandas', 'submitit', 'matplotlib'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root)


def test_every_state_has_a_place_in_the_line(out: Path) -> None:
    states = ("missing", "stale", "done", "failed")
    made = plan.make(GRID, out)
    found = tuple(plan.Planned(p.cell, p.folder, s) for p, s in zip(made.cells, states, strict=False))  # type: ignore[arg-type]
    assert status.counts(Plan(GRID, out, found)) == "1 done, 1 failed, 1 stale, 1 missing"


def test_a_cell_of_two_submissions_belongs_to_the_one_that_runs_it(out: Path) -> None:
    supervised(begin(out, "1", [[0]], "local"), 0, "running")
    supervised(begin(out, "2", [[0]], "local"), 0, "refused", "no")
    now = plan_state.look(plan.make(GRID, out), {})
    assert now.newest[now.plan.cells[0].folder.name].submission.id == "1"
    assert not now.left
