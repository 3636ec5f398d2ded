"""Replicas end together: after one that dies, or the first one, the others have a moment, and are killed then."""

from __future__ import annotations

import subprocess
import time
from queue import SimpleQueue

import pytest

from bench.launch import worker_processes
from bench.launch.codes import LOST, REFUSED, SAVED, SETTLED
from bench.launch.worker_processes import Processes, own_device
from flowbench._core.errors import UserError

LONG = "sleep 60"


def ended(*scripts: str, number: int | None = None) -> int:
    """The exit code of a worker of such replicas."""
    changed: SimpleQueue[None] = SimpleQueue()
    worker = Processes(
        lambda rank: subprocess.Popen(["sh", "-c", scripts[rank]]), range(len(scripts)), changed
    )
    if number:
        worker.send(number)
    began = time.monotonic()
    while (code := worker.poll()) is None:
        assert time.monotonic() < began + 30
        time.sleep(0.01)
    for _ in scripts:
        changed.get(timeout=5)
    assert all(child.returncode is not None for child in worker.children)
    return code


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_processes, "GRACE", 0.2)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("scripts", "code"),
    [
        (["exit 0"], SETTLED),
        (["kill -9 $$"], -9),
        (["exit 3"], 3),
        (["exit 0", "exit 0"], SETTLED),
        (["exit 0", LONG], SETTLED),
        (["exit 0", "kill -9 $$"], SETTLED),
        ([LONG, "kill -9 $$"], -9),
        ([LONG, f"exit {LOST}"], LOST),
        ([f"sleep .1; exit {LOST}", "kill -9 $$"], -9),
        (["kill -9 $$", f"sleep .1; exit {LOST}"], -9),
        ([f"exit {SAVED}", f"exit {SAVED}"], SAVED),
        ([f"sleep .5; exit {REFUSED}", f"exit {REFUSED}"], REFUSED),
        ([f"sleep .5; exit {SAVED}", f"exit {SAVED}"], SAVED),
    ],
    ids=str,
)
def test_the_exit_code_is_the_first_ones_or_of_what_died(scripts: list[str], code: int) -> None:
    assert ended(*scripts) == code


def test_a_signal_is_for_all() -> None:
    assert ended("exec sleep 60", "exec sleep 60", number=15) == -15


def test_all_are_started_or_none() -> None:
    begun = []

    def start(rank: int) -> subprocess.Popen[bytes]:
        if rank:
            raise UserError("no second one")
        begun.append(subprocess.Popen(["sleep", "60"]))
        return begun[0]

    with pytest.raises(UserError, match="no second one"):
        Processes(start, range(2), SimpleQueue())
    assert begun[0].wait(10) == -9


def test_each_has_its_own_gpu() -> None:
    given = {"CUDA_VISIBLE_DEVICES": "3,GPU-8932f937"}
    assert own_device(given, 1, 2) == {"CUDA_VISIBLE_DEVICES": "GPU-8932f937"}
    assert (
        own_device(given, 0, 1)
        == own_device({}, 1, 2)
        == own_device({"CUDA_VISIBLE_DEVICES": ""}, 1, 2)
        == {}
    )
    with pytest.raises(
        UserError, match="3 replicas on a machine need 3 GPUs, and it gives 2: 3,GPU-8932f937"
    ):
        own_device(given, 0, 3)
