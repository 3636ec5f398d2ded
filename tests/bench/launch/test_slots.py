"""How many workers run at once on this machine, and what each gets of GPUs or cores."""

from __future__ import annotations

import os

import pytest

from bench.launch import local
from bench.launch.local import slots
from bench.machine import cgroup
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError


def threads(count: int) -> dict[str, str]:
    """The environment of a worker that may take fewer."""
    return {"OMP_NUM_THREADS": str(count), "FLOWBENCH_THREADS": "auto"}


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> int:
    """Six cores, no GPU unless a test names some, and no number of threads."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr(cgroup, "cores", lambda: float("inf"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return 6


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        ("3,5", ["3", "5"]),
        ("0", ["0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("GPU-8932f937,MIG-1", ["GPU-8932f937", "MIG-1"]),
        ("", []),
        ("-1", []),
        ("2,-1,3", ["2"]),
    ],
)
def test_only_the_gpus_that_the_command_was_given(
    given: str, gpus: list[str], cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert local.visible_gpus() == gpus
    each = threads(6 // len(gpus) if gpus else 6)
    expected = [each | {"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [each]
    assert slots(Execution()) == expected
    assert slots(Execution(device="cuda")) == expected
    assert slots(Execution(device="cpu")) == [threads(6)]
    assert slots(Execution(device="mps")) == [threads(6)]


def test_slots_go_round_the_gpus(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(Execution(slots=5))] == ["3", "5", "3", "5", "3"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(Execution(slots=1))] == ["3"]


def test_cores_are_divided(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slots(Execution(slots=2)) == [threads(3)] * 2
    assert slots(Execution(slots=4)) == [threads(1)] * 4
    monkeypatch.setattr(cgroup, "cores", lambda: 4.5)
    assert slots(Execution(slots=2)) == [threads(2)] * 2, "a quota counts"
    with pytest.raises(UserError, match="--slots 5: there are 4 cores here, choose at most 4"):
        slots(Execution(slots=5))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert slots(Execution(slots=3)) == [{}] * 3, "the user's number stands"


def test_more_slots_than_cores_are_refused(cores: int) -> None:
    with pytest.raises(UserError, match="--slots 7: there are 6 cores here, choose at most 6"):
        slots(Execution(slots=7))


def test_without_a_gpu_torch_is_not_asked(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(local, "glob", lambda pattern: [])
    monkeypatch.setattr(local, "count_gpus", lambda: pytest.fail("it takes seconds"))
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert local.visible_gpus() == []


def test_replicas_have_gpus_or_cores_of_their_own(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert slots(Execution(replicas=2)) == [threads(3)]
    assert slots(Execution(replicas=2, slots=3)) == [threads(1)] * 3
    with pytest.raises(UserError, match="--slots 4: there are 6 cores here, choose at most 3"):
        slots(Execution(replicas=2, slots=4))
    with pytest.raises(UserError, match="--replicas 7: there are 6 cores here, choose at most 6"):
        slots(Execution(replicas=7))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3,5,7,9")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(Execution(replicas=2))] == ["1,3", "5,7"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(Execution(replicas=5))] == ["1,3,5,7,9"]
    assert slots(Execution(replicas=2, device="cpu")) == [threads(3)]
    with pytest.raises(UserError, match="--replicas 8: there are 5 GPUs here, choose at most 5"):
        slots(Execution(replicas=8))
