"""What counts as measurements of a cell, and what is made again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.driver import results
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
    results.check(write(tmp_path, {"ema-5-5": SETTING}))


@pytest.mark.parametrize(
    "settings",
    [
        3,
        {},
        {"ema-5-5": 3},
        {"ema-5-5": {"clip": 30.0}},
        *({"ema-5-5": SETTING | {"clip": v}} for v in ("x", {}, True)),
    ],
)
def test_anything_else_is_damaged(settings: object, tmp_path: Path) -> None:
    with pytest.raises(atomic.Damaged, match="is not a result: delete that file"):
        results.check(write(tmp_path, settings))
