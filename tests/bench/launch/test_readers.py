"""Readers of a run folder: its owner, unless asked otherwise; whatever the umask. And no secret is written into it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import grid
from bench.runfolder.submission import Submission

from .conftest import Ends
from .test_damaged import COMMAND

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def modes(out: Path, directories: bool) -> dict[str, int]:
    """The modes of all folders, or of all files but those that only a command at work needs."""
    found = [p for p in (out, *out.rglob("*")) if p.name != ".lock"]
    return {
        str(p.relative_to(out)): stat.S_IMODE(p.stat().st_mode) for p in found if p.is_dir() == directories
    }


@pytest.mark.parametrize("mask", [0o000, 0o077])
@pytest.mark.parametrize(("readers", "folder", "file"), [("me", 0o700, 0o600), ("all", 0o755, 0o644)])
def test_everything_can_be_read_by_the_readers_asked_for(
    readers: str,
    folder: int,
    file: int,
    mask: int,
    forked: Ends,
    umask: Callable[[int], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    umask(mask)
    monkeypatch.setenv("API_TOKEN", SECRET)
    given = [] if readers == "me" else ["--readable-by", readers]
    out = tmp_path / "run"
    assert grid.main([*COMMAND, *given, "--out", str(out)]) == 0
    assert {name: oct(mode) for name, mode in modes(out, True).items() if mode != folder} == {}
    assert {name: oct(mode) for name, mode in modes(out, False).items() if mode != file} == {}
    for path in out.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_group_s_folder_stays_the_group_s(submit: Callable[..., Submission], tmp_path: Path) -> None:
    """Below a folder whose files inherit its group, ours do too."""
    from bench.runfolder import store

    tmp_path.chmod(0o2770)
    store.prepare(tmp_path / "run", 0o750)
    made = submit(code="none")
    for path in (made.out, made.folder.parent, made.folder):
        assert stat.S_IMODE(path.stat().st_mode) == 0o2750


def test_a_folder_that_is_there_keeps_its_mode(submit: Callable[..., Submission], tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o750)
    (tmp_path / "run").chmod(0o750)
    assert stat.S_IMODE(submit(code="none").folder.stat().st_mode) == 0o750
