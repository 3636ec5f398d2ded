"""What counts as measurements of a cell, and what is made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.runfolder import measured
from flowbench._core import atomic

SETTING = {
    "weights": "ema",
    "steps": 5,
    "cfg": 5.0,
    "solver": "euler",
    "grid": "native",
    "clip": 30.0,
    "fid": None,
}


def write(folder: Path, settings: object) -> Path:
    file = folder / "result.json"
    file.write_text(json.dumps({"names": {"fid_name": "fid[x]"}, "settings": settings}))
    return file


def test_numbers_by_setting_are_a_result(tmp_path: Path) -> None:
    found = measured.read(write(tmp_path, {"ema-5-5": SETTING}))
    (setting,) = found.values
    assert setting.name == "ema-5-5"
    assert found.values[setting] == {"clip": 30.0, "fid": None}
    assert found.names == {"fid_name": "fid[x]"}


def test_dropped_networks_belong_to_the_setting(tmp_path: Path) -> None:
    (setting,) = measured.read(write(tmp_path, {"ema-5-5-drop-t5": SETTING | {"drop": "t5"}})).values
    assert setting.dropped == ("t5",)
    assert measured.read(write(tmp_path, {"ema-5-5": SETTING})).values.keys() != {setting}


@pytest.mark.parametrize(
    "settings",
    [
        3,
        {},
        {"ema-5-5": 3},
        {"ema-5-5": {"clip": 30.0}},
        *({"ema-5-5": SETTING | {"clip": v}} for v in ("x", {}, True)),
        {"ema-5-5": SETTING | {"steps": 0}},
    ],
)
def test_anything_else_is_damaged(settings: object, tmp_path: Path) -> None:
    with pytest.raises(atomic.Damaged, match=r"result\.json "):
        measured.read(write(tmp_path, settings))
