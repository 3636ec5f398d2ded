"""A study of networks from its grid to a published page: seeds in two commands, archives that merge, tables and figures."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis import archive, fill, rank
from bench import grid

from .runs import SMALL

NETWORKS = ["--networks", "mmdit", "dit", "--equal", "parameters", "--width", "32", "--compile", "off"]
SHORT = [*SMALL, *NETWORKS, "--settings", "2:1", "--steps", "4", "--validations", "2"]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Archives of seed 0 and of seed 1."""
    root = tmp_path_factory.mktemp("networks")
    for seed in ("0", "1"):
        argv = [*SHORT, "--first-seed", seed, "--seeds", "1", "--out", str(root / f"run{seed}")]
        assert grid.main(argv) == 0
        assert archive.main([str(root / f"run{seed}"), str(root / seed / "study"), "--no-figures"]) == 0
    return root / "0" / "study", root / "1" / "study"


def test_a_finished_grid_has_its_networks_apart_and_how_to_cross_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert grid.main([*SHORT, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "shapes with dit" in printed
    assert "--effects" in printed
    widths = {
        (model.get("architecture", "mmdit"), model["width"])
        for file in out.glob("cells/*/config.json")
        for model in [json.loads(file.read_text())["cell"]["model"]]
    }
    assert ("mmdit", 32) in widths
    assert len(widths) == 2
    assert dict(widths)["dit"] > 32, "one set of weights is wider at as many parameters"


def test_archives_of_seeds_merge_with_curves_pictures_and_page(
    seeds: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    joint = tmp_path / "study"
    assert archive.main([*map(str, seeds), str(joint)]) == 0
    assert "8 done of 8 cells" in capsys.readouterr().out
    figures = {file.name for file in (joint / "figures").iterdir()}
    assert figures >= {"curves.svg", "levels.svg", "networks.svg", "samples.png"}
    page = (joint / "report.html").read_text(encoding="utf-8")
    assert "shapes with mmdit" in page
    assert "The recipe in full (2 of 2)" in page
    pictures = pd.read_parquet(joint / "pictures.parquet")
    cells = pd.read_parquet(joint / "results.parquet")[["cell", "recipe"]].drop_duplicates()
    shown = cells[cells["cell"].isin(set(pictures["owner"]))]["recipe"]
    assert shown.nunique() == 2, "pictures of both networks"
    assert rank.main([str(joint), "--effects"]) == 0
    assert "network" in capsys.readouterr().out


def test_a_page_has_the_tables_of_an_archive(
    seeds: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint, page = tmp_path / "study", tmp_path / "page.md"
    assert archive.main([*map(str, seeds), str(joint), "--no-figures"]) == 0
    page.write_text(f"<!-- python -m analysis.rank {joint} --by model --format md -->\n<!-- end -->\n")
    assert fill.main([str(page)]) == 0
    assert "| rf/lognorm(0.00,1.00) |" in page.read_text()
    assert fill.main([str(page), "--check"]) == 0
