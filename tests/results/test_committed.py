"""Every archived run under ``results`` says what the code says of its data: no committed number can drift from the code."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis import archive, fill, leaderboard
from analysis.report import contents
from analysis.runs import run, sources
from bench import keep
from bench.config import kept_weights
from bench.config.experiment import Grid
from bench.config.identity import full, restore
from bench.drawing import trained, write

ROOT = Path(__file__).resolve().parents[2] / "results"
ARCHIVES = sorted(file.parent for file in ROOT.rglob(sources.CELLS))
MODELS = sorted(file.parent for file in ROOT.glob("models/*/config.json"))
MOST = 20_000_000
"""Bytes of all results together."""


@pytest.mark.parametrize("folder", ARCHIVES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_tables_are_what_the_code_makes_of_the_data(folder: Path) -> None:
    for name, text in archive.tables(run.read(folder)).items():
        kept = (folder / name).read_text(encoding="utf-8")
        if name == archive.RANKING:  # at full precision, whose last digits depend on the number of threads
            there, made = (pd.read_csv(io.StringIO(each)) for each in (kept, text))
            pd.testing.assert_frame_equal(there, made, check_exact=False, rtol=1e-9, atol=1e-9)
        else:
            assert kept == text, name


@pytest.mark.parametrize("folder", ARCHIVES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_weights_of_a_milestone_have_the_operations_up_to_it(folder: Path) -> None:
    found = run.read(folder)
    recipes = {cell.id: m.recipes[cell.recipe] for m in found.manifests for cell in m.cells}
    early = found.frame[found.frame["weights"].map(kept_weights.milestone).notna()]
    wanted = [
        recipes[cell].flops_at(step) for cell, step in zip(early["cell"], early["best_step"], strict=True)
    ]
    assert np.allclose(early["train_flops"], wanted)


@pytest.mark.parametrize("folder", ARCHIVES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_how_to_make_it_again_is_known(folder: Path) -> None:
    kept = json.loads((folder / sources.PROVENANCE).read_text(encoding="utf-8"))
    for fact in ("command", "code", "python", "pytorch", "device", "threads", "cells", "seeds"):
        assert kept[fact], fact
    assert kept["wall_seconds"] > 0
    assert not any(word.startswith("/") for command in kept["command"] for word in command.split())


@pytest.mark.parametrize("folder", ARCHIVES, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_archives_can_grow(folder: Path) -> None:
    """Configurations on file are those that a run of today would have: fields younger than the archive are left out."""
    kept = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
    assert full(restore(Grid, kept["grid"])) == kept["grid"]


def test_a_page_can_be_made() -> None:
    for folder in ARCHIVES:
        if (folder / archive.REPORT).exists():
            made = contents.read(run.read(folder))
            assert made.ranking is not None
            assert made.provenance.facts
            return


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_a_kept_model_draws_its_drawing(folder: Path, tmp_path: Path) -> None:
    caption = json.loads((folder / "config.json").read_text(encoding="utf-8"))["caption"]
    write(keep.pictures(trained(folder)[0], caption), tmp_path / "drawing.png")
    there, now = (np.asarray(Image.open(f / "drawing.png")).astype(int) for f in (folder, tmp_path))
    assert np.abs(there - now).max() <= keep.SAME
    assert (folder / "ema.safetensors").stat().st_size < keep.MOST + 100_000


PAGES = [*sorted((ROOT.parent / "docs").glob("*.md")), ROOT / "RULES.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_a_page_are_what_its_commands_print(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill.filled(text, page.name) == text


def test_the_table_of_readme_is_that_of_its_archive() -> None:
    """``results/quick`` was made before archives had their cells: its numbers at full precision are what there is."""
    kept = pd.read_csv(ROOT / "quick" / archive.RANKING)
    lines = (
        (ROOT.parent / "README.md").read_text(encoding="utf-8").partition("| formulation |")[2].splitlines()
    )

    def written(row: pd.Series, column: str, digits: int) -> str:
        interval = "rank" if column == "rank_all" else column
        low, high = row[f"{interval}_low"], row[f"{interval}_high"]
        text = f"{row[column]:.{digits}f}"
        text += f" ±{(high - low) / 2:.{digits}f}" if column != "rank_all" else ""
        tied = kept[kept[f"{interval}_tied"]][column]
        best = row[column] == (tied.max() if column == "clip" else tied.min())
        return f"**{text}**" if best else text + "~" * bool(row[f"{interval}_tied"])

    for (_, row), line in zip(kept.iterrows(), lines[2:], strict=False):
        low, high = int(row["position_low"]), int(row["position_high"])
        cells = [
            row["formulation"],
            written(row, "rank_all", 2),
            f"{low}-{high}" if high > low else str(low),
            f"{row['rank_5']:.2f}",
            written(row, "val_loss", 4),
            written(row, "clip", 2),
            written(row, "fid", 3),
        ]
        assert line == f"| {' | '.join(cells)} |"


def test_results_stay_small() -> None:
    assert sum(file.stat().st_size for file in ROOT.rglob("*") if file.is_file()) < MOST


def test_the_leaderboard_is_what_the_submissions_say() -> None:
    assert leaderboard.main(["--check"]) == 0
