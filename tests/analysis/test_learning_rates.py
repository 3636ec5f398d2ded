"""The geometric mean of FID by data set and learning rate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import learning_rates


def written(file: Path, rate: float, fids: dict[str, float], **more: Any) -> Path:
    rows = [
        {"formulation": name, "dataset": "digits", "seed": 900, "weights": "ema", "steps": 5, "cfg": 5.0}
        | {"fid": fid, "clip": 1.0, "status": "done" if np.isfinite(fid) else "diverged"}
        | {"recipe": json.dumps({"training": {"lr": rate}})}
        | more
        for name, fid in fids.items()
    ]
    pd.DataFrame(rows).to_parquet(file)
    return file


def test_means_are_geometric_and_the_smallest_is_chosen(tmp_path: Path) -> None:
    low = written(tmp_path / "low.parquet", 1e-3, {"rf": 1.0, "v/cos": 4.0})
    high = written(tmp_path / "high.parquet", 3e-3, {"rf": 3.0, "v/cos": 3.0})
    other = written(tmp_path / "other.parquet", 3e-3, {"rf": 5.0}, dataset="shapes")
    found = learning_rates.means([high, low, other]).set_index("dataset")
    assert list(found) == [1e-3, 3e-3]
    assert found.loc["digits"].tolist() == pytest.approx([2.0, 3.0])
    assert np.isnan(found.loc["shapes", 1e-3])
    cells = learning_rates.table(found.reset_index()).cells
    assert cells["chosen"].tolist() == ["0.001", "0.003"]


def test_a_rate_at_which_one_diverges_is_never_chosen(tmp_path: Path) -> None:
    low = written(tmp_path / "low.parquet", 1e-3, {"rf": 9.0, "v/cos": 9.0})
    high = written(tmp_path / "high.parquet", 1e-2, {"rf": 1.0, "v/cos": np.nan})
    found = learning_rates.means([low, high])
    assert found[1e-2].tolist() == [np.inf]
    assert learning_rates.table(found).cells["chosen"].tolist() == ["0.001"]


def test_other_formulations_and_bare_tables_are_refused(tmp_path: Path, capsys: Any) -> None:
    one = written(tmp_path / "one.parquet", 1e-3, {"rf": 1.0})
    two = written(tmp_path / "two.parquet", 3e-3, {"v/cos": 1.0})
    bare = written(tmp_path / "bare.parquet", 3e-3, {"rf": 1.0}, recipe=None)
    for argv, words in (([one, two], "has other formulations"), ([bare], "without a recipe")):
        assert learning_rates.main([str(path) for path in argv]) == 2
        assert words in capsys.readouterr().err
