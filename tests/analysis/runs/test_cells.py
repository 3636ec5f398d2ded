"""What lies in the cells of a run: files that are not what they should be are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.runs import cell_contents, run, synthetic

LINE: dict[str, Any] = {
    "step": 5,
    "seconds": 1.5,
    "train_loss": 0.5,
    "val_loss": 0.4,
    "val_common": [0.1] * 8,
}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "7", "null", json.dumps(LINE | {"val_common": 5}), json.dumps(LINE | {"val_common": [0.1] * 7}),
     json.dumps(LINE | {"val_common": ["a"] * 8}), json.dumps(LINE | {"step": "x"}), json.dumps(LINE | {"val_loss": [1]}),
     json.dumps(LINE) + '\n{"step": 10, "val'],
)  # fmt: skip
def test_a_log_that_is_none_is_left_out(tmp_path: Path, text: str) -> None:
    found = run.read(synthetic.write(tmp_path, synthetic.truth(("rf", "v/cos")), samples=8, seeds=1))
    for _, cell in found.cells():
        if cell.formulation == "rf":
            (tmp_path / "cells" / cell.id / "metrics.jsonl").write_text(text)
    frame = cell_contents.curves(found)
    assert set(frame["formulation"]) == {"v/cos"}
    assert all(frame[name].dtype == np.float64 for name in ("step", "val_loss", "level_7"))


def test_what_was_not_validated_is_not_a_number(tmp_path: Path) -> None:
    found = run.read(synthetic.write(tmp_path, synthetic.truth(("rf",)), samples=8, seeds=1))
    ((_, cell),) = found.cells()
    lines = [LINE | {"val_loss": None, "val_common": None}, LINE]
    (tmp_path / "cells" / cell.id / "metrics.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines)
    )
    frame = cell_contents.curves(found)
    assert np.isnan(frame["val_loss"]).tolist() == np.isnan(frame["level_0"]).tolist() == [True, False]
