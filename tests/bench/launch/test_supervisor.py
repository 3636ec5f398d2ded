"""A supervisor, and workers that follow a script: die, wait, refuse. Real processes, which import nothing."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.launch import codes, snapshot
from bench.launch.supervisor import Supervisor
from bench.runfolder import lease
from bench.runfolder.submission import Share, Submission
from flowbench._core import atomic

WORKER = """
import json, os, signal, sys, tempfile
from pathlib import Path

folder, index, token, *rest = sys.argv[1:]
folder = Path(folder)
with (folder / "starts").open("a") as file:
    file.write(" ".join(rest) + "\\n")
count = len((folder / "starts").read_text().splitlines())
act = json.loads((folder / "script.json").read_text())[count - 1]
(folder / f"beat-{int(index):04}.json").write_text(json.dumps({"cells": act.get("at", [])}))
for cell in act.get("finishes", []):
    (folder.parent.parent / "cells" / cell).mkdir(parents=True)
    (folder.parent.parent / "cells" / cell / "ema.safetensors").touch()
for cell in act.get("leaves", []):
    (folder.parent.parent / "cells" / cell).mkdir(parents=True, exist_ok=True)
    tempfile.mkstemp(".safetensors", ".checkpoint-1.safetensors.", folder.parent.parent / "cells" / cell)
print(act.get("says", ""))
if "ends" in act:
    (folder / f"end-{int(index):04}.json").write_text(json.dumps({"token": token, **act["ends"]}))
if "waits" in act:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(act["waits"]))
    (folder / "waiting").touch()
    while True:
        signal.pause()
if "signal" in act:
    os.kill(os.getpid(), act["signal"])
sys.exit(act.get("exit", 0))
"""
ENDS = {"kind": "NoDevice", "message": "no such device", "cause": "abc"}
KILLED: dict[str, Any] = {"signal": signal.SIGKILL}
Scripted = Callable[..., Submission]


@pytest.fixture
def scripted(submit: Callable[..., Submission], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """A submission of cells a and b whose worker does one thing of a script at each start."""
    package = tmp_path / "checkout" / "bench"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "worker").mkdir()
    (package / "worker" / "__init__.py").touch()
    (package / "worker" / "begin.py").write_text(WORKER)
    monkeypatch.setattr(snapshot, "ROOT", package.parent)

    def make(*script: dict[str, Any]) -> Submission:
        made = submit(shares=[Share(("a", "b"))])
        (made.folder / "script.json").write_text(json.dumps(script))
        return made

    return make


def starts(submission: Submission) -> list[str]:
    """The options of each start."""
    file = submission.folder / "starts"
    return file.read_text().splitlines() if file.exists() else []


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def in_thread(made: Supervisor) -> tuple[threading.Thread, list[str]]:
    """The supervisor at work, and where its ending will be."""
    endings: list[str] = []
    thread = threading.Thread(target=lambda: endings.append(made.run()))
    thread.start()
    return thread, endings


def test_a_killed_worker_is_started_again(scripted: Scripted) -> None:
    made = scripted(KILLED, {"exit": 0})
    assert Supervisor(made, 0, {}).run() == "settled"
    assert starts(made) == ["", ""]
    assert lease.state(made, 0)["state"] == "settled"
    log = made.log_file(0).read_text()
    assert "the worker was killed by SIGKILL (out of memory?); started again from the last checkpoints" in log


def test_the_second_death_without_progress_runs_cells_alone(scripted: Scripted) -> None:
    made = scripted(KILLED, KILLED, {"exit": codes.FAILED})
    assert Supervisor(made, 0, {}).run() == "failed"
    assert starts(made) == ["", "", "--alone"]


def test_progress_forgives_earlier_deaths(scripted: Scripted) -> None:
    first, second = KILLED | {"finishes": ["a"]}, KILLED | {"finishes": ["b"]}
    made = scripted(first, second, KILLED, {"exit": 0})
    assert Supervisor(made, 0, {}).run() == "settled"
    assert starts(made) == ["", "", "", "--alone"]


def test_half_written_files_are_no_progress(scripted: Scripted) -> None:
    """A worker that dies whenever it writes a checkpoint would otherwise be started for ever."""
    made = scripted(*[KILLED | {"leaves": ["a"], "at": ["a"]}] * 4, {"exit": 0})
    assert Supervisor(made, 0, {}).run() == "settled"
    assert starts(made) == ["", "", "--alone", "--alone", ""]


def test_after_the_fourth_death_the_cell_at_hand_has_failed_and_the_others_continue(
    scripted: Scripted,
) -> None:
    made = scripted(KILLED, KILLED, KILLED, KILLED | {"at": ["b"], "says": "its last words"}, {"exit": 10})
    assert Supervisor(made, 0, {}).run() == "failed"
    assert starts(made) == ["", "", "--alone", "--alone", ""]
    status = atomic.read_object(made.out / "cells" / "b" / "status.json")
    assert status["state"] == "failed"
    message = "the worker was killed by SIGKILL (out of memory?) 4 times at this cell"
    assert status["error"] == {"kind": "Killed", "message": message, "cause": "killed-9"}
    assert "its last words" in (made.out / "cells" / "b" / "error.txt").read_text()
    assert [p.name for p in (made.folder / "failures").iterdir()] == ["killed-9.b"]
    assert not (made.out / "cells" / "a").exists()


@pytest.mark.parametrize("how", ["edited", "writable"])
def test_code_that_is_not_what_was_submitted_is_never_started(how: str, scripted: Scripted) -> None:
    """It is verified before its first line runs, at every start."""
    made = scripted(KILLED, {"exit": 0})
    file = made.code_folder / "bench" / "__init__.py"
    if how == "edited":
        file.write_text("open('/dev/null')\n")
    else:
        file.chmod(0o666)
    boss = Supervisor(made, 0, {})
    assert boss.run() == "refused"
    assert starts(made) == []
    assert ("has been changed" if how == "edited" else "can be written by others") in str(boss.failure)


def test_a_worker_that_dies_before_it_is_at_a_cell_is_given_up(scripted: Scripted) -> None:
    made = scripted(*[{"exit": 1}] * 4)
    assert Supervisor(made, 0, {}).run() == "killed"
    assert len(starts(made)) == 4
    assert lease.state(made, 0)["error"]["message"] == "the worker ended with exit code 1"


@pytest.mark.parametrize("code", sorted(codes.ENDINGS))
def test_an_exit_code_is_an_ending(code: int, scripted: Scripted) -> None:
    made = scripted({"exit": code, "says": "error: not the reason", "ends": ENDS})
    assert Supervisor(made, 0, {}).run() == codes.ENDINGS[code]
    assert starts(made) == [""]
    kept = lease.state(made, 0)
    assert kept["state"] == codes.ENDINGS[code]
    spoken = codes.ENDINGS[code] in ("held", "broken", "refused", "unwritable", "unfit")
    assert kept["error"] == (ENDS if spoken else None)


@pytest.mark.parametrize("stale", [False, True])
def test_a_worker_that_could_not_note_why_it_ended(stale: bool, scripted: Scripted) -> None:
    """What another attempt noted is not taken for its reason."""
    made = scripted({"exit": codes.UNWRITABLE}, {"exit": codes.REFUSED})
    for index, words in enumerate((f"{made.out} could not be written", f"see {made.log_file(0)}")):
        if stale:
            atomic.write_json(made.end_file(0), {"token": "another's", **ENDS})
        Supervisor(made, 0, {}, restart=index).run()
        assert lease.state(made, 0)["error"]["message"] == words


def test_asked_to_stop_it_asks_the_worker_once_and_waits(scripted: Scripted) -> None:
    made = scripted({"waits": codes.SAVED})
    boss = Supervisor(made, 0, {})
    thread, endings = in_thread(boss)
    until((made.folder / "waiting").exists)
    boss.stop("SIGTERM")
    boss.stop("another reason")
    thread.join(10)
    assert endings == ["saved"]
    assert starts(made) == [""]
    kept = lease.state(made, 0)
    assert (kept["state"], kept["error"]["message"]) == ("saved", "SIGTERM")


def test_a_worker_that_dies_of_the_request_to_stop_is_not_started_again(scripted: Scripted) -> None:
    """As it does while Python still starts, before its handlers are there."""
    made = scripted({"waits": 3})
    boss = Supervisor(made, 0, {})
    thread, endings = in_thread(boss)
    until((made.folder / "waiting").exists)
    boss.stop("SIGTERM")
    thread.join(10)
    assert endings == ["saved"]
    assert starts(made) == [""]


def test_asked_to_stop_before_it_begins_it_starts_nothing(scripted: Scripted) -> None:
    made = scripted({"exit": 0})
    boss = Supervisor(made, 0, {})
    boss.stop("SIGINT")
    assert boss.run() == "saved"
    assert starts(made) == []


def test_an_older_restart_begins_nothing(scripted: Scripted) -> None:
    made = scripted({"exit": 0}, {"exit": 0})
    assert Supervisor(made, 0, {}, restart=1).run() == "settled"
    assert Supervisor(made, 0, {}, restart=0).run() == "fenced"
    assert len(starts(made)) == 1


def test_a_newer_restart_takes_the_share_from_an_older_one(scripted: Scripted) -> None:
    """Whose worker finds another token there; what it writes last changes nothing."""
    made = scripted({"waits": codes.FENCED}, {"exit": 0})
    old = Supervisor(made, 0, {}, restart=0)
    thread, endings = in_thread(old)
    until((made.folder / "waiting").exists)
    held = lease.Lease(made, 0, old.token)
    held.check()
    new = Supervisor(made, 0, {}, restart=1)
    assert new.run() == "settled"
    with pytest.raises(lease.Fenced):
        held.check()
    old.stop("let it end")
    thread.join(10)
    assert endings == ["fenced"]
    assert lease.state(made, 0)["token"] == new.token
    assert lease.state(made, 0)["state"] == "settled"


def test_starts_that_make_no_progress_end(scripted: Scripted) -> None:
    """On nodes without the device that was asked for: three, and then it is refused with the reason."""
    made = scripted(*[{"exit": codes.UNFIT, "ends": ENDS}] * 3)
    found = [Supervisor(made, 0, {}, restart).run() for restart in range(4)]
    assert found == ["unfit", "unfit", "unfit", "refused"]
    assert lease.state(made, 0)["error"]["message"] == "no such device, 3 times in a row without progress"
    assert len(starts(made)) == 3


def test_preempted_in_the_beginning_it_may_start_for_ever(scripted: Scripted) -> None:
    made = scripted(*[{"exit": codes.SAVED}] * 6)
    assert [Supervisor(made, 0, {}, restart).run() for restart in range(6)] == ["saved"] * 6


def test_starts_longer_than_a_checkpoint_without_progress_end(scripted: Scripted) -> None:
    """As with time limits that are too short for what comes before training."""
    made = scripted(*[{"exit": codes.SAVED}] * 3)
    made = replace(made, execution=replace(made.execution, checkpoint=0.0))
    found = [Supervisor(made, 0, {}, restart).run() for restart in range(4)]
    assert found == ["saved", "saved", "saved", "refused"]


def test_progress_adds_up_between_starts(scripted: Scripted) -> None:
    made = scripted(
        *[{"exit": codes.SAVED}] * 2, {"exit": codes.SAVED, "finishes": ["a"]}, *[{"exit": 75}] * 2
    )
    assert [Supervisor(made, 0, {}, restart).run() for restart in range(5)] == ["saved"] * 5


def test_where_no_log_can_be_written_it_ends_with_the_reason(scripted: Scripted) -> None:
    made = scripted({"exit": 0})
    made.log_file(0).mkdir()
    boss = Supervisor(made, 0, {})
    assert boss.run() == "unwritable"
    assert boss.failure
    assert boss.failure.message == f"{made.log_file(0)}: Is a directory"
    assert lease.state(made, 0)["state"] == "unwritable"
    assert starts(made) == []


def test_where_no_state_can_be_written_it_begins_nothing(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scripted({"exit": 0})

    def full(path: Path, value: Any) -> None:
        raise atomic.Unwritable(28, "No space left on device", str(path))

    monkeypatch.setattr(atomic, "write_json", full)
    assert Supervisor(made, 0, {}).run() == "unwritable"
    assert starts(made) == []
