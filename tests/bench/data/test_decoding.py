"""A command that is stopped while it decodes continues with the pictures that are not on disk, whatever the stop has cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.data import decoding, pixels
from bench.data.decoding import HEADER, Unfinished

from .pictures import fill, load

SIDE, COUNT, CHUNK = 8, 40, 8


class Stop(BaseException):
    """What no item catches, as a signal is."""


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each picture that is decoded."""
    calls: list[int] = []
    real = pixels.decode

    def counted(raw: bytes, resolution: int) -> np.ndarray:
        calls.append(1)
        return real(raw, resolution)

    monkeypatch.setattr(pixels, "decode", counted)
    monkeypatch.setattr(decoding, "CHUNK", CHUNK)
    monkeypatch.setattr(decoding, "LINE", CHUNK)
    return calls


def stopped(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> Unfinished:
    """The files of a command that was stopped at a picture."""
    real, calls = pixels.decode, [0]

    def stopping(raw: bytes, resolution: int) -> np.ndarray:
        calls[0] += 1
        if calls[0] == at:
            raise Stop
        return real(raw, resolution)

    with monkeypatch.context() as patch:
        patch.setattr(pixels, "decode", stopping)
        with pytest.raises(Stop):
            load(folder, cache)
    (array,) = cache.glob(".new-*.npy")
    return Unfinished(array, array.with_suffix(".jsonl"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures with a copy, and an item that is none, in the part that is decoded first."""
    folder = fill(tmp_path / "cats")
    shutil.copy(folder / "000.png", folder / "002.png")
    (folder / "004.png").write_bytes(b"none")
    return folder


def test_a_stopped_command_continues(
    folder: Path, tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(folder, tmp_path / "whole")
    stopped(folder, tmp_path / "cache", monkeypatch, at=20)
    decoded.clear()
    found = load(folder, tmp_path / "cache")
    assert len(decoded) == COUNT - 2 * CHUNK
    assert found.digest == whole.digest
    assert found.skipped == whole.skipped
    assert found.skipped[0].startswith("004.png")
    for one, other in zip(*(sorted((tmp_path / each).iterdir()) for each in ("whole", "cache")), strict=True):
        assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def cut_line(files: Unfinished) -> None:
    files.log.write_bytes(files.log.read_bytes()[:-9])


def no_json(files: Unfinished) -> None:
    files.log.write_bytes(files.log.read_bytes().replace(b'"', b"\0"))


def more_items(files: Unfinished) -> None:
    files.log.write_bytes(files.log.read_bytes() * COUNT)


def cut_array(files: Unfinished) -> None:
    files.array.write_bytes(files.array.read_bytes()[: HEADER + SIDE])


def longer_array(files: Unfinished) -> None:
    with files.array.open("ab") as out:
        out.write(b"of a chunk without its line")


def no_log(files: Unfinished) -> None:
    files.log.unlink()


def no_array(files: Unfinished) -> None:
    files.array.unlink()


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (cut_line, CHUNK),
        (longer_array, 2 * CHUNK),
        (cut_array, 0),
        (no_json, 0),
        (more_items, 0),
        (no_log, 0),
        (no_array, 0),
    ],
)
def test_only_what_is_whole_is_continued(
    damage: Callable[[Unfinished], None],
    left: int,
    folder: Path,
    tmp_path: Path,
    decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = load(folder, tmp_path / "whole")
    damage(stopped(folder, tmp_path / "cache", monkeypatch, at=20))
    # stopped once more, so that what the second command appended is read by a third
    stopped(folder, tmp_path / "cache", monkeypatch, at=CHUNK + 4)
    decoded.clear()
    assert load(folder, tmp_path / "cache").digest == whole.digest
    assert len(decoded) == COUNT - left - CHUNK


def test_other_files_are_another_decoding(
    folder: Path, tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(folder, tmp_path / "cache", monkeypatch, at=20)
    fill(folder, 1)
    decoded.clear()
    load(folder, tmp_path / "cache")
    assert len(decoded) == COUNT
