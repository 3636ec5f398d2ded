"""What ``--watch`` prints, and when it ends."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from bench.planning import plan
from bench.runfolder import cell_folder
from bench.status import status
from flowbench._core import logs

from ..run_folders import GRID, Slurm, begin, fail, put, supervised


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    return Slurm(monkeypatch)


def step_by_step(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Instead of sleeping, do the next of these."""
    todo = iter(steps)
    monkeypatch.setattr(status.time, "sleep", lambda seconds: next(todo)())


def interrupt() -> None:
    raise KeyboardInterrupt


def test_watch_speaks_when_something_happens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # the counts have a line of their own
    made = begin(tmp_path, "1", [[0], [1]], "local")
    for number in range(2, 8):
        put(tmp_path, number, "done")
    fail(tmp_path, 0, "ValueError: no", "a.py", "11")
    folder = plan.make(GRID, tmp_path).cells[0].folder

    def end() -> None:
        put(tmp_path, 1, "done")
        supervised(made, 0, "settled")
        supervised(made, 1, "settled")

    step_by_step(
        monkeypatch,
        lambda: supervised(made, 0, "running", share=0.1),
        lambda: supervised(made, 0, "running", share=0.2),
        lambda: cell_folder.retry(folder, "failed"),
        end,
    )
    assert status.watch(plan.make(GRID, tmp_path), 0.0) == 0
    lines = [
        line.strip() for line in capsys.readouterr().out.splitlines() if line.endswith(("queued", "missing"))
    ]
    assert lines == ["6 done, 1 failed, 1 queued"] * 2 + ["6 done, 1 running, 1 queued", "7 done, 1 missing"]


def test_watch_asks_sacct_once(tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path, "1", [[0], [1]])
    slurm.listed = ["71_1|PENDING||Resources"]
    step_by_step(monkeypatch, lambda: None, lambda: None, slurm.listed.clear)
    assert status.watch(plan.make(GRID, tmp_path), 0.0) == 1
    assert [call for call in slurm.calls if call == "sacct"] == ["sacct"] * 2, "once for each task that ended"


def test_watch_does_not_wait_for_a_submission_that_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begin(tmp_path, "1", [[0]], "local")
    step_by_step(monkeypatch, (made.folder / "submission.json").unlink)
    assert status.watch(plan.make(GRID, tmp_path), 0.0) == 0


def test_watch_ends_with_130(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(tmp_path, "1", [[0]], "local")
    step_by_step(monkeypatch, interrupt)
    with logs.shown():
        assert status.watch(plan.make(GRID, tmp_path), 0.0) == 130
    assert capsys.readouterr().err == "no longer watched; the workers continue\n"


def test_a_terminal_gets_colours_and_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", width=80)
    monkeypatch.setattr(status, "Console", lambda: console)
    begin(tmp_path, "1", [[0]], "local")
    step_by_step(monkeypatch, lambda: None, interrupt)
    status.watch(plan.make(GRID, tmp_path), 0.0)
    assert file.getvalue().count("\x1b[33m1 cell queued\x1b[0m") >= 2
