"""How many threads have cores of their own: by affinity, quotas of both kinds of control groups, and what others leave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.machine import cgroup, cores
from bench.machine.cores import Cores, Load
from bench.machine.threads import EVERY, Threads

CPU = torch.device("cpu")
SPIN = "while True: pass"


def tree(root: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A tree of control groups, and the system's record of the group of a process."""
    for name, text in files.items():
        (root / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "fs" / name).write_text(text)
    (root / "own").write_text(own)
    return root / "fs", root / "own"


QUOTAS = [
    ("none", "0::/\n", {}, float("inf")),
    ("no limit", "0::/a\n", {"a/cpu.max": "max 100000\n"}, float("inf")),
    ("version 2", "0::/a\n", {"a/cpu.max": "150000 100000\n"}, 1.5),
    ("of a parent", "0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, 3.0),
    ("the smallest", "0::/a/b\n", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "300000 100000"}, 0.5),
    ("another group's", "0::/a\n", {"b/cpu.max": "50000 100000"}, float("inf")),
    ("a container that sees the host's names", "0::/docker/4f2a\n", {"cpu.max": "200000 100000"}, 2.0),
    (
        "version 1",
        "3:cpu,cpuacct:/a\n",
        {"cpu,cpuacct/a/cpu.cfs_quota_us": "250000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        2.5,
    ),
    (
        "version 1 by its short name",
        "3:cpu,cpuacct:/\n",
        {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"},
        1.0,
    ),
    (
        "version 1 without a limit",
        "1:cpu:/\n0::/\n",
        {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        float("inf"),
    ),
    ("both versions", "9:pids:/x\n0::/a\n", {"unified/a/cpu.max": "100000 50000"}, 2.0),
    ("damaged", "0::/a\nx\n", {"a/cpu.max": ""}, float("inf")),
]


@pytest.mark.parametrize(("own", "files", "expected"), [q[1:] for q in QUOTAS], ids=[q[0] for q in QUOTAS])
def test_quotas(own: str, files: dict[str, str], expected: float, tmp_path: Path) -> None:
    assert cgroup.cores(*tree(tmp_path, own, files)) == expected


def test_memory_limits_of_both_versions(tmp_path: Path) -> None:
    two = tree(tmp_path / "2", "0::/a\n", {"a/memory.max": "1000", "a/memory.current": "400"})
    assert cgroup.free_memory(*two) == 600
    files = {"memory/memory.limit_in_bytes": "1000", "memory/memory.usage_in_bytes": "1400"}
    assert cgroup.free_memory(*tree(tmp_path / "1", "4:memory:/\n", files)) == 0
    files["memory/memory.limit_in_bytes"] = "9223372036854771712"
    assert cgroup.free_memory(*tree(tmp_path / "0", "4:memory:/\n", files)) == float("inf")
    assert cgroup.free_memory(tmp_path, tmp_path / "nothing") == float("inf")


@pytest.mark.parametrize(
    ("found", "usable"),
    [
        (Cores(8, None, 8.0), 8),
        (Cores(8, None, 7.8), 8),
        (Cores(8, None, 6.7), 6),
        (Cores(8, 1.5, 8.0), 1),
        (Cores(8, 0.2, 8.0), 1),
        (Cores(64, 4.0, 20.0), 4),
        (Cores(2, None, 1.0), 1),
        (Cores(2, None, 0.0), 1),
    ],
)
def test_a_thread_has_a_core_or_is_not_begun(found: Cores, usable: int) -> None:
    assert found.usable == usable


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[float]]:
    """Four cores, two of them to be used; a file of the system's counts, and a clock that stands still."""
    now = [100.0, 5.0]  # the time, and the seconds that this process has computed
    monkeypatch.setattr(cores, "affinity", lambda: {1, 2})
    monkeypatch.setattr(cores.cgroup, "cores", lambda: float("inf"))
    monkeypatch.setattr(cores.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(cores.os, "times", lambda: os.times_result((now[1], 0.0, 0.0, 0.0, 0.0)))
    return tmp_path / "stat", now


def write(stat: Path, *busy: float) -> None:
    """Busy seconds of the cores."""
    lines = [f"cpu{i} {int(s * cores.TICKS)} 0 0 5000 70 0 0 0 0 0" for i, s in enumerate(busy)]
    stat.write_text("\n".join(["cpu  1 2 3 4", *lines, "intr 5"]) + "\n")


def test_what_others_use_of_our_cores(machine: tuple[Path, list[float]]) -> None:
    stat, now = machine
    write(stat, 10, 10, 10, 10)
    load = Load(stat)
    now[0] += 2
    write(stat, 12, 10, 10, 12)
    assert load.cores() == Cores(2, None, 2.0), "the cores of others may be busy"
    now[0] += 2
    now[1] += 1.5
    write(stat, 12, 12, 11, 12)
    assert load.cores().free == pytest.approx(1.25), "three seconds of two, half of them ours"
    now[0] += 2
    write(stat, 12, 14, 13, 12)
    assert load.cores() == Cores(2, None, 0.0)
    stat.unlink()
    now[0] += 2
    assert load.cores() == Cores(2, None, 2.0), "a system that does not count"


def test_affinity_and_a_busy_neighbour_are_seen_as_they_are() -> None:
    """With a real process on a real core: what is free is less while it runs."""
    allowed = sorted(os.sched_getaffinity(0))
    try:
        os.sched_setaffinity(0, allowed[:1])
        assert len(cores.affinity()) == cores.most() == 1
        with subprocess.Popen([sys.executable, "-c", SPIN]) as spinning:
            load = Load()
            deadline = time.monotonic() + 20
            time.sleep(0.3)
            while (found := load.cores()).free > 0.5 and time.monotonic() < deadline:
                time.sleep(0.3)
            spinning.kill()
        assert found.allowed == 1
        assert found.free <= 0.5
        assert found.usable == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_several_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "most", lambda: 7)
    threads = [cores.environment(workers, {})["OMP_NUM_THREADS"] for workers in (1, 2, 3, 7, 9)]
    assert threads == ["7", "3", "2", "1", "1"]
    assert cores.environment(2, {"OMP_NUM_THREADS": "5"}) == {}, "the user's word"


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Cores]]:
    """What the next looks find; the last is found again and again. Time passes from look to look."""
    queue = [Cores(4, None, 4.0)]
    now = [0.0]

    def look(*given: object) -> Cores:
        return queue.pop(0) if len(queue) > 1 else queue[0]

    def later() -> float:
        now[0] += EVERY + 1
        return now[0]

    monkeypatch.setenv("FLOWBENCH_THREADS", "auto")
    monkeypatch.setattr(cores, "look", look)
    monkeypatch.setattr(cores.Load, "cores", look)
    monkeypatch.setattr("bench.machine.threads.time.monotonic", later)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield queue
    torch.set_num_threads(before)


def test_fewer_threads_once_others_take_the_cores_for_good(found: list[Cores]) -> None:
    said: list[str] = []
    threads = Threads(CPU, said.append)
    threads.begin(4)
    free, busy = Cores(4, None, 4.0), Cores(4, None, 1.6)
    found[:] = [busy, free, busy, free, busy, busy, busy]
    for expected in (4, 4, 4, 4, 4, 1, 1):
        threads.look()
        assert torch.get_num_threads() == expected
    assert said == ["1 thread instead of 4 from here on: 4 cores, other processes use 2.4"]
    assert threads.facts() == {"cores": {"allowed": 4, "quota": None, "free": 1.6}}
    found[:] = [free]
    threads.look()
    assert torch.get_num_threads() == 1, "a training does not go to and fro"
    threads.begin(3)
    assert torch.get_num_threads() == 3, "the next one has what it was given"
    found[:] = [busy]
    threads.begin(3)
    assert torch.get_num_threads() == 1


def test_a_training_keeps_its_threads_if_there_are_cores(found: list[Cores]) -> None:
    threads = Threads(CPU)
    assert (threads.as_before(2), threads.as_before(4)) == (2, 4)
    found[:] = [Cores(4, None, 1.0)]
    assert threads.as_before(8) == 1, "of more cores than there are"
    assert threads.as_before(1) == 1


def test_the_users_threads_stand(found: list[Cores], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWBENCH_THREADS")
    found[:] = [Cores(4, None, 0.0)]
    threads = Threads(CPU)
    threads.begin(2)
    for _ in range(4):
        threads.look()
    assert torch.get_num_threads() == 4
    assert threads.as_before(3) == 3
    assert threads.facts() == {}
