"""The leaderboard shows the entries that keep the rules of a track, and refuses the others in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import formulations
from analysis import archive, leaderboard
from analysis.runs import synthetic
from bench.worker import provenance
from formulations.formulation_registry import registry

BASELINE = "rf/lognorm(0.00,1.00)"
NAMES = (BASELINE, "rf", "eps/linear")
OWN = "board/late(2.00)"
PLUGIN = """
from formulations import Formulation, register
from formulations.targets import velocity


@register("board/late(k)")
def late(k: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")
"""
ABOUT = {
    "author": "A. [Bee](x)",
    "date": "2026-12-24",
    "formulation": "board/late(2)",
    "plugin": "plugin.py",
    "command": "python -m bench.grid",
    "track": "digits",
}


def archived(out: Path, root: Path, names: tuple[str, ...], **options: Any) -> Path:
    """The archive of a made-up run on digits; ``edit(config)`` changes what cells noted."""
    edit = options.pop("edit", lambda config: config)
    kinds: dict[str, Any] = {"seeds": 4, "samples": 8, "weights": ("ema",), "datasets": ("digits",)}
    shutil.rmtree(root, ignore_errors=True)
    synthetic.write(root, synthetic.truth(names, noise=0.1), **kinds | options)
    for file in root.glob("cells/*/config.json"):
        kept = json.loads(file.read_text())
        kept["coefficients"] = provenance.probe(formulations.get(kept["cell"]["formulation"]))
        file.write_text(json.dumps(edit(kept)))
    for name in archive.KNOWN:  # of another run, whose cells no archive is written over
        (out / name).unlink(missing_ok=True)
    list(archive.archive([root], out, figures=False))
    return out


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The plugin, at a place of its own, for making runs; checking loads those of the submissions."""
    before = dict(registry.entries)
    file = tmp_path_factory.mktemp("plugin") / "plugin.py"
    file.write_text(PLUGIN)
    formulations.load_plugin(file)
    yield file
    registry.entries.clear()
    registry.entries.update(before)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory, plugin: Path) -> Path:
    """The reference, and a good submission's."""
    out = tmp_path_factory.mktemp("archives")
    archived(out / "reference", out / "run", NAMES)
    archived(out / "good", out / "run", (BASELINE, OWN))
    return out


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: Path, archives: Path) -> Path:
    """A results folder with a reference and an archive to submit; submissions load the plugin that is loaded already."""
    load = formulations.load_plugin
    monkeypatch.setattr(
        formulations, "load_plugin", lambda file: load(plugin if file.read_text() == PLUGIN else file)
    )
    out = tmp_path / "results"
    out.mkdir()
    (out / "README.md").write_text(f"before\n{leaderboard.BEGIN}\nyesterday\n{leaderboard.END}\nafter\n")
    shutil.copytree(archives / "reference", out / "headline-digits")
    shutil.copytree(archives / "good", out / "leaderboard" / "late")
    return out


def submitted(results: Path, about: dict[str, str] | None = None, **options: Any) -> Path:
    """A submission, good unless ``options`` or ``about`` make it another."""
    folder = results / "leaderboard" / "late"
    if options:
        archived(folder, results.parent / "run", options.pop("names", (BASELINE, OWN)), **options)
    (folder / "submission.json").write_text(json.dumps(ABOUT | (about or {})))
    (folder / "plugin.py").write_text(PLUGIN)
    (folder / "log.txt").write_text("18 cells")
    return folder


def refused(results: Path, capsys: pytest.CaptureFixture[str]) -> str:
    before = (results / "README.md").read_text()
    assert leaderboard.main(["--results", str(results)]) == 2
    assert (results / "README.md").read_text() == before
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_submission_among_the_tracks_own(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submitted(results, status=lambda f, d, s: "diverged" if (f, s) == (OWN, 3) else None)
    assert leaderboard.main(["--results", str(results), "--check"]) == 1
    assert leaderboard.main(["--results", str(results)]) == 0
    assert leaderboard.main(["--results", str(results), "--check"]) == 0
    page = (results / "README.md").read_text()
    assert page.startswith(f"before\n{leaderboard.BEGIN}\n")
    assert page.endswith(f"{leaderboard.END}\nafter\n")
    assert "yesterday" not in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows[-1:]] == [OWN], "what diverged comes last"
    assert {row.split("`")[1] for row in rows[:-1]} == {"rf", "eps/linear"}
    assert "not compared: diverged in 1 of 4 seeds" in rows[-1]
    assert "2026-12-24" in rows[-1]
    assert r"\[Bee\](x)" in rows[-1]
    assert "[plugin](leaderboard/late/plugin.py)" in rows[-1]
    assert all(" % [" in row for row in rows[:-1])


def test_rows_are_the_comparison_of_the_pair(results: Path) -> None:
    submitted(results)
    text = leaderboard.render(results)
    reference = leaderboard.run.read(results / "headline-digits").frame["formulation"].nunique()
    estimates = []
    for line in text.splitlines():
        if line.startswith("| `"):
            estimates.append(float(line.split("|")[2].split("%")[0]))
    assert estimates == sorted(estimates)
    assert len(estimates) == reference - 1 + 1, "all but the baseline, and the submission"


def test_without_entries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "README.md").write_text(f"{leaderboard.BEGIN}{leaderboard.END}")
    assert leaderboard.main(["--results", str(tmp_path)]) == 0
    assert "No entries yet" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("no markers")
    assert "lacks the lines" in refused(tmp_path, capsys)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": ((4, 30_000),)}, "another recipe than the track's: training.steps is 30000, not 20000"),
        ({"samples": 16}, "evaluation.samples is 16, not 8"),
        ({"datasets": ("shapes",)}, "another data set than the track's: shapes, not digits"),
        ({"settings": synthetic.STUDY[1:]}, "without the track's control setting"),
        ({"settings": (*synthetic.STUDY, (7, 5.0))}, "another control setting than the track's: ema-7-5"),
        ({"seeds": 3}, "seeds 0 to 2, and the track takes 4 or more"),
        ({"names": ("rf", OWN)}, "has not trained the baseline rf/lognorm(0.00,1.00)"),
        ({"names": (BASELINE, "rf")}, "has not trained board/late(2.00)"),
        ({"status": lambda f, d, s: "failed" if (f, s) == (OWN, 1) else None}, "seed 1 of board/late(2.00) is not finish"),
        ({"edit": lambda c: c | {"coefficients": [[1.0] * 7] * 7}}, "makes another board/late(2.00) than was trained"),
        ({"about": {"formulation": BASELINE}}, "is the baseline of the track"),
        ({"about": {"date": "yesterday"}}, "is not like 2026-11-29"),
        ({"about": {"track": "digit"}}, "did you mean 'digits'"),
        ({"about": {"formulation": ""}}, "lacks 'formulation'"),
        ({"about": {"auther": "x"}}, "did you mean 'author'"),
        ({"about": {"plugin": "my.py"}}, "name its file 'plugin.py'"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_named(
    results: Path, options: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    submitted(results, **options)
    assert words in refused(results, capsys)


@pytest.mark.parametrize("names", [(OWN,), (OWN, BASELINE)])
@pytest.mark.parametrize("seed", [2, 4])
def test_a_seed_cannot_be_left_out(
    results: Path, names: tuple[str, ...], seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Taken out of the table, as a diverged one might be."""
    folder = submitted(results, seeds=5)
    rows = pd.read_parquet(folder / "results.parquet")
    rows[~rows["formulation"].isin(names) | (rows["seed"] != seed)].to_parquet(folder / "results.parquet")
    error = refused(results, capsys)
    assert f"seed {seed} of " in error
    assert "is left out" in error


@pytest.mark.parametrize("name", ["log.txt", "plugin.py", "cells.parquet"])
def test_a_missing_file_is_named(results: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (submitted(results) / name).unlink()
    assert f"has no {name}" in refused(results, capsys)


def test_a_plugin_that_does_not_conform(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = submitted(results)
    (folder / "plugin.py").write_text("raise ValueError('no')")
    assert "ValueError: no" in refused(results, capsys)
