"""Files appear whole or not at all."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch

from bench.runfolder import store
from flowbench._core import atomic
from flowbench._core.errors import UserError


def test_json_and_tensors_round_trip(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "deep" / "a.json", {"b": [1, 2.5, None]})
    assert atomic.read_json(tmp_path / "deep" / "a.json") == {"b": [1, 2.5, None]}
    x = torch.randn(3, 4)
    atomic.write_tensors(tmp_path / "x.safetensors", {"x": x.T}, {"step": 3})
    tensors, about = atomic.read_tensors(tmp_path / "x.safetensors")
    assert torch.equal(tensors["x"], x.T)
    assert about["step"] == atomic.read_about(tmp_path / "x.safetensors")["step"] == 3
    arrays, _ = atomic.read_tensors(tmp_path / "x.safetensors", "numpy")
    assert arrays["x"].tolist() == x.T.tolist()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"old": 1})

    def half(temporary: Path) -> None:
        temporary.write_text('{"new":')
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic.write_whole(path, half)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        atomic.write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x07noise")
    read = atomic.read_json if name.endswith("json") else atomic.read_tensors
    with pytest.raises(atomic.Damaged, match=f"{name} cannot be read"):
        read(tmp_path / name)


def test_a_changed_number_is_damage(tmp_path: Path) -> None:
    """As by a disk that loses bits: the file is whole, and one of its numbers another."""
    file = tmp_path / "x.safetensors"
    atomic.write_tensors(file, {"x": torch.ones(3)})
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(atomic.Damaged, match="its content is not what was written"):
        atomic.read_tensors(file)


def test_a_lock_is_waited_for_but_not_for_ever(tmp_path: Path) -> None:
    with store.lock(tmp_path), pytest.raises(UserError, match="is in use by another command"):
        store.lock(tmp_path, 0.1)
    held = store.lock(tmp_path)
    release = threading.Timer(0.2, held.close)
    release.start()
    store.lock(tmp_path, 60.0).close()
    release.join()


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        store.prepare(tmp_path / "file" / "below", 0o700)
