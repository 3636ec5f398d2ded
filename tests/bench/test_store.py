"""Files appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import store
from samplers.errors import UserError


def test_json_and_tensors_round_trip(tmp_path: Path) -> None:
    store.write_json(tmp_path / "deep" / "a.json", {"b": [1, 2.5, None]})
    assert store.read_json(tmp_path / "deep" / "a.json") == {"b": [1, 2.5, None]}
    x = torch.randn(3, 4)
    store.write_tensors(tmp_path / "x.safetensors", {"x": x.T})
    assert torch.equal(store.read_tensors(tmp_path / "x.safetensors")["x"], x.T)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    store.write_json(path, {"old": 1})

    def half(temporary: Path) -> None:
        temporary.write_text('{"new":')
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.write_whole(path, half)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
def test_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x07noise")
    read = store.read_json if name.endswith("json") else store.read_tensors
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        read(tmp_path / name)


def test_a_run_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        store.prepare(tmp_path / "file" / "below")
