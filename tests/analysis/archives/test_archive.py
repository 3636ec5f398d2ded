"""An archived run says what the run says, byte for byte, and nothing of the machine that it was made on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import archive, plots, rank
from analysis.archives import bundle
from analysis.plots import files
from analysis.ranking import ranking
from analysis.report import contents, page
from analysis.runs import run, sources, synthetic
from bench.grid import check_folder
from flowbench._core.errors import UserError

NAMES = ("rf", "eps/linear", "v/cos", "rf/lognorm(0.00,1.00)")


def made(folder: Path, noise: float = 0.3, **options: Any) -> Path:
    """A run folder whose files name the machine's paths wherever they may."""
    kinds: dict[str, Any] = {"seeds": 2, "samples": 16, "pictures": 4, "weights": ("ema",)}
    synthetic.write(folder, synthetic.truth(NAMES, noise=noise), **kinds | options)
    grid = folder / "grid.json"
    grid.write_text(grid.read_text().replace('"--synthetic"', f'"--out", "{folder}"'))
    return folder


def archived(folder: Path, out: Path) -> list[str]:
    return list(archive.archive([folder], out))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run with a diverged and a failed cell and a confirmation, and its archive of the same name."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        return {("v/cos", 1): "diverged", ("eps/linear", 0): "failed"}.get((name, seed))

    root = tmp_path_factory.mktemp("pair")
    folder, out = (
        made(root / "a" / "quick", datasets=("x", "y"), seeds=3, status=status),
        root / "b" / "quick",
    )
    synthetic.write(
        folder,
        synthetic.truth(NAMES[:2]),
        datasets=("x", "y"),
        seeds=2,
        samples=16,
        weights=("ema",),
        first_seed=1000,
    )
    for file in folder.glob("cells/*/status.json"):
        kept = json.loads(file.read_text())
        if "error" in kept:
            kept["error"]["message"] = f"cannot open '{folder}/x.py'"
            file.write_text(json.dumps(kept))
            file.with_name("error.txt").write_text(f'File "{folder}/bench/x.py", line 3\n  there\n')
    (folder / "submissions" / "1").mkdir(parents=True)
    (folder / "submissions" / "1" / "submission.json").write_text(
        json.dumps({"code": "synthetic", "commit": "abc"})
    )
    left = [
        {
            "dataset": d,
            "formulation": f,
            "steps": 5,
            "cfg": 5.0,
            "solver": "euler",
            "grid": "native",
            "fid": 1.5,
        }
        for d in "xy"
        for f in NAMES
    ]
    (folder / "ideal.json").write_text(json.dumps({"left": left}))
    (folder / "timings.json").write_text(json.dumps({"train": 60.0, "total": 50.0}))
    archived(folder, out)
    return folder, out


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--by", "steps"),
        ("--families",),
        ("--ideal",),
        ("--baseline", "rf"),
        ("--versus-paper",),
        ("--where", "dataset=x", "--format", "json"),
    ],
)
def test_the_same_tables(
    pair: tuple[Path, Path], options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for folder in pair:
        assert rank.main([str(folder), *options]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert printed[0].count("\n") > 5


def test_the_same_figures(pair: tuple[Path, Path]) -> None:
    drawn = []
    for folder in pair:
        found = run.read(folder)
        figures, lost = plots.draw(found, ranking.rank(found))
        drawn.append(({f.name: (f.caption, files.render(f, "svg")) for f in figures}, lost))
    assert drawn[0] == drawn[1]
    assert {"samples", "curves", "budget", "levels"} <= drawn[0][0].keys()


def test_the_same_page(pair: tuple[Path, Path], tmp_path: Path) -> None:
    pages = []
    for i, folder in enumerate(pair):
        page.write(contents.read(run.read(folder)), tmp_path / f"{i}.html")
        pages.append((tmp_path / f"{i}.html").read_text().replace("…/quick</code>", "quick</code>"))
    assert pages[0] == pages[1]
    assert "abc" in pages[1]
    assert (pair[1] / archive.REPORT).read_text() == pages[1]


def test_tables_are_what_the_code_prints(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    for name, options in ((archive.TABLES, ()), (archive.VERSUS, ("--versus-paper",))):
        rank.main([str(pair[1]), *options, "--format", "md"])
        assert capsys.readouterr().out == (pair[1] / name).read_text()
    rank.main([str(pair[1]), "--format", "csv"])
    assert capsys.readouterr().out == (pair[1] / archive.RANKING).read_text()


def test_again_the_same_bytes(pair: tuple[Path, Path]) -> None:
    folder, out = pair
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    archived(folder, out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_no_paths_of_the_machine(pair: tuple[Path, Path]) -> None:
    root = str(pair[0].parents[1])
    for file in pair[1].rglob("*"):
        if file.suffix == ".parquet":
            assert root not in pd.read_parquet(file).to_csv()
        elif file.is_file():
            assert root not in file.read_text(encoding="latin-1"), file.name


def test_provenance(pair: tuple[Path, Path]) -> None:
    kept = json.loads((pair[1] / sources.PROVENANCE).read_text())
    assert kept["command"][0] == "python -m bench.grid --out quick"
    assert kept["cells"] == ["20 done, 2 failed, 2 diverged", "confirmation: 8 done"]
    assert kept["device_seconds"] == {"training": 32 * 60.0, "measuring": 28 * 60.0}
    assert kept["wall_seconds"] == 60.0  # all are noted as finished in one moment
    assert kept["commits"] == [["synthetic", "abc"]]


def test_a_study_that_grows(tmp_path: Path) -> None:
    (line, *_) = archived(
        made(tmp_path / "run", status=lambda f, d, s: "pending" if s else None), tmp_path / "out"
    )
    assert "4 done, 4 pending of 8 cells" in line
    assert "provisional" in (tmp_path / "out" / archive.TABLES).read_text()
    (tmp_path / "out" / "README.md").write_text("mine")
    (line, *_) = archived(made(tmp_path / "run"), tmp_path / "out")
    assert "8 done of 8 cells" in line
    assert "provisional" not in (tmp_path / "out" / archive.TABLES).read_text()
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_what_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = made(tmp_path / "run", seeds=3, noise=3.0), tmp_path / "out"
    archived(folder, out)
    assert "not known here" not in (out / archive.TABLES).read_text()
    exact = (out / sources.SAMPLES).stat().st_size
    monkeypatch.setattr(bundle, "MOST_SAMPLES", exact - 1)
    assert archived(folder, out)[1:] == [f"left out: {bundle.ROUNDED_SAMPLES}"]
    assert "not known here" not in (out / archive.TABLES).read_text()
    monkeypatch.setattr(bundle, "MOST_SAMPLES", 1000)
    monkeypatch.setattr(bundle, "MOST_PIXELS", 9 * 768)
    lines = archived(folder, out)
    assert lines[1:] == [f"left out: {bundle.LEFT_OUT_SAMPLES}", f"left out: {bundle.LEFT_OUT_PICTURES}"]
    assert json.loads((out / sources.PROVENANCE).read_text())["left_out"] == [
        bundle.LEFT_OUT_SAMPLES,
        bundle.LEFT_OUT_PICTURES,
    ]
    assert not (out / sources.SAMPLES).exists()
    assert len(pd.read_parquet(out / sources.PICTURES)) <= 9
    assert "not known here" in (out / archive.TABLES).read_text()


def test_rounded_values_are_near() -> None:
    values = np.array([0.0, 1.0, -1 / 3, 96.7, 1e-20], dtype=np.float32)
    assert bundle._rounded(values) == pytest.approx(values, rel=2**-bundle.BITS, abs=0)
    assert not (bundle._rounded(values).view(np.uint32) & 0xFFF).any()


def test_without_figures(tmp_path: Path) -> None:
    list(archive.archive([made(tmp_path / "run")], tmp_path / "out", figures=False))
    assert not (tmp_path / "out" / archive.REPORT).exists()
    assert not list(tmp_path.glob("out/figures/*"))
    assert (tmp_path / "out" / archive.TABLES).exists()


def test_a_failure_leaves_the_earlier_archive(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "run"), tmp_path / "out"
    archived(folder, out)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    for file in folder.glob("cells/*/images-*/*"):
        file.write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be read"):
        archived(folder, out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"run", "out"}


def test_a_scaling_study(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    synthetic.write(
        folder, synthetic.truth(("rf",)), sizes=((1, 100), (2, 100), (2, 200)), samples=8, weights=("ema",)
    )
    archived(folder, tmp_path / "out")
    found = run.read(tmp_path / "out")
    assert archive.tables(found) == archive.tables(run.read(folder))
    assert (tmp_path / "out" / archive.TABLES).read_text() == archive.tables(found)[archive.TABLES]
    assert not (tmp_path / "out" / archive.RANKING).exists()
    assert list((tmp_path / "out" / archive.FIGURES).glob("*.svg"))
    assert "Compute-optimal depth" in (tmp_path / "out" / archive.REPORT).read_text(encoding="utf-8")


def test_what_cannot_be_archived(pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder, out = pair
    (tmp_path / "bare").mkdir()
    shutil.copy(out / "results.parquet", tmp_path / "bare")
    with pytest.raises(UserError, match="no cells to archive"):
        archived(tmp_path / "bare", tmp_path / "again")
    with pytest.raises(UserError, match="is a run folder"):
        archived(folder, made(tmp_path / "other"))
    twins = made(tmp_path / "twins", datasets=("images:/mine/pictures", "images:/yours/pictures"))
    with pytest.raises(UserError, match="would both be 'images:pictures'"):
        archived(twins, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds thesis\.tex"):
        archived(folder, tmp_path / "full")
    for name in ("figures/mine", "ranking.csv"):
        (tmp_path / "odd" / name).mkdir(parents=True)
        with pytest.raises(UserError, match=f"{name}' is a folder"):
            archived(folder, tmp_path / "odd")
        shutil.rmtree(tmp_path / "odd")
    with pytest.raises(UserError):
        archived(made(tmp_path / "new", status=lambda f, d, s: "pending"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="archive of a run"):
        check_folder(out)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("--out /home/me/runs/quick", "--out quick"), ("images:/data/flowers", "images:flowers"), ("/x", "x"),
     ('{"text":"tinyclip:/a/b.safetensors"}', '{"text":"tinyclip:b.safetensors"}'), ("--out=/a/b", "--out=b"),
     ("rf/lognorm(0.00,1.00)", "rf/lognorm(0.00,1.00)"), ("((a + b) / det)^2", "((a + b) / det)^2"),
     ("b/(a+b)", "b/(a+b)"), ("(1-t)/t", "(1-t)/t"), ("https://x.org/y", "https://x.org/y"), ("runs/quick", "runs/quick")],
)  # fmt: skip
def test_paths_become_their_last_names(text: str, expected: str) -> None:
    assert bundle.relative(text) == expected
