"""``python -m analysis.scaling``: its formats, its figures and its errors."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from analysis import scaling
from analysis.plots import files
from analysis.plots.widths import COLUMN, PAGE, WIDTHS
from analysis.runs import run, synthetic
from analysis.scaling import charts, numbers
from analysis.scaling.__main__ import main
from analysis.tables import output
from analysis.tables.layout import Screen
from formulations.colours import INK


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = [(depth, steps) for depth in (1, 2, 4) for steps in (100, 1000, 10_000)]
    settings = ((50, 5.0), (5, 5.0))
    out = tmp_path_factory.mktemp("scaling")
    return synthetic.write(
        out, synthetic.truth(["rf"]), sizes=sizes, settings=settings, weights=("ema",), samples=8
    )


def test_the_table_has_every_part(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    out = capsys.readouterr().out
    for title in (
        "Scaling of rf on synthetic",
        "Laws of the validation loss",
        "Compute-optimal depth",
        "Validation loss and quality",
        "CLIP score lost with fewer sampling steps",
    ):
        assert out.count(f"{title}\n") == 1
    assert "compute, on the frontier" in out
    assert "95 % over 3 seeds" in out
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_csv_is_the_runs_and_json_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scaling.report(run.read(folder))
    assert main([str(folder), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["val_loss"]) for row in rows] == list(found.table["val_loss"])
    assert main([str(folder), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    names = ["runs", "laws", "optimal", "correlations", "efficiency"]
    assert list(printed) == [f"scaling_{name}{end}" for name in names for end in ("", "_notes")]
    assert printed["scaling_laws"][0]["alpha_low"] == found.laws["alpha_low"].iloc[0]
    assert printed["scaling_laws"][1]["e"] is None


@pytest.mark.parametrize(("format", "mark"), [("md", "| depth"), ("latex", r"\toprule")])
def test_text_formats(folder: Path, capsys: pytest.CaptureFixture[str], format: str, mark: str) -> None:
    assert main([str(folder), "--format", format]) == 0
    assert capsys.readouterr().out.count(mark) >= 2


def test_several_folders_are_one_experiment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = [(1, 100), (1, 400), (2, 100), (2, 400)]
    parts = {"whole": sizes, "short": sizes[::2], "long": sizes[1::2], "again": sizes[:2]}
    for name, some in parts.items():
        synthetic.write(tmp_path / name, synthetic.truth(["rf"]), sizes=some, samples=8)
    printed = []
    for names in (["whole"], ["short", "long"], ["long", "short"]):
        assert main([*(str(tmp_path / name) for name in names), "--format", "md"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2]
    assert main([str(tmp_path / "short"), str(tmp_path / "again")]) == 2
    words = (
        f"{str(tmp_path / 'short')!r} and {str(tmp_path / 'again')!r} both have depth 1, 100 steps, seed 0"
    )
    assert words in capsys.readouterr().err
    assert main([str(tmp_path / "short"), str(tmp_path / "short")]) == 2, "no seed counts twice"


def test_folders_of_different_settings_are_no_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, sizes, settings in (
        ("one", [(1, 100), (1, 400)], ((50, 5.0),)),
        ("two", [(2, 100), (2, 400)], ((50, 5.0), (5, 5.0))),
    ):
        synthetic.write(
            tmp_path / name,
            synthetic.truth(["rf"]),
            sizes=sizes,
            settings=settings,
            weights=("ema",),
            samples=8,
        )
    both = [str(tmp_path / "one"), str(tmp_path / "two")]
    assert main(both) == 2
    assert f"only {both[1]!r} has EMA weights, 5 sampling steps, guidance 5" in capsys.readouterr().err
    assert main([*both, "--where", "steps=50"]) == 0


def test_the_same_folder_gives_the_same_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outs = []
    for _ in range(2):
        main([str(folder), "--format", "json"])
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]


def test_figures_are_written_whole_with_their_captions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder), "--out", str(tmp_path / "figures")]) == 0
    paths = capsys.readouterr().err.split()
    names = ("scaling_compute", "scaling_sizes", "scaling_quality")
    assert sorted(paths) == sorted(
        str(tmp_path / "figures" / f"{n}.{kind}") for n in names for kind in files.FORMATS
    )
    for name in names:
        picture = matplotlib.image.imread(tmp_path / "figures" / f"{name}.png")
        assert (picture[..., :3] != 1).any()
        assert INK in (tmp_path / "figures" / f"{name}.svg").read_text()
    quality = (tmp_path / "figures/scaling_quality.txt").read_text()
    assert re.search(r"correlation with the loss: CLIP -?\d\.\d\d \[-?\d\.\d\d, -?\d\.\d\d\], ", quality)
    assert "(band: 95 % over seeds)" in (tmp_path / "figures/scaling_compute.txt").read_text()


def test_figures_are_as_wide_as_they_are_to_be_printed(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for width, inches in WIDTHS.items():
        assert main([str(folder), "--out", str(tmp_path / width), "--width", width]) == 0
        for file in (tmp_path / width).glob("*.png"):
            pixels = matplotlib.image.imread(file).shape[1]
            narrow = width == "page" and file.stem == "scaling_compute"
            assert pixels == pytest.approx((1.25 * COLUMN if narrow else inches) * files.DPI, abs=1), file


@pytest.mark.parametrize("width", [40, 60, 80])
def test_tables_fit_narrow_terminals(folder: Path, width: int) -> None:
    shown = output.write(scaling.report(run.read(folder)).tables(), screen=Screen(width))
    assert max(map(len, shown.splitlines())) <= width
    in_columns = {40: 2, 60: 5, 80: 5}[width]
    assert sum(set(line) == {"-", " "} for line in shown.splitlines()) == in_columns
    assert width > 40 or "\ndepth 4\n  steps" in shown, "a row is named by its heading and value"


def test_the_figure_shows_every_run_and_the_law(folder: Path) -> None:
    found = scaling.report(run.read(folder))
    panel = charts.compute(found, PAGE).figure.axes[0]
    lines = {str(line.get_label()): line for line in panel.get_lines()}
    for depth in (1, 2, 4):
        mine = found.table[found.table["depth"] == depth].sort_values("train_flops")
        assert np.array_equal(lines[f"depth {depth}"].get_xdata(), mine["train_flops"])
        assert np.array_equal(lines[f"depth {depth}"].get_ydata(), mine["val_loss"])
    assert len(lines["frontier"].get_xdata()) == found.table["frontier"].sum()  # type: ignore[arg-type]
    assert found.frontier.law is not None
    x = np.asarray(lines["law"].get_xdata(), dtype=float)
    assert np.asarray(lines["law"].get_ydata()) == pytest.approx(found.frontier.law(x))
    (low, high), middle = found.frontier.band(x) or ([], []), found.frontier.law(x)
    assert (low < middle).all()
    assert (middle < high).all()


def test_figures_of_one_seed_and_of_few_runs(tmp_path: Path) -> None:
    options = {"seeds": 1, "settings": ((50, 5.0),), "weights": ("ema",), "samples": 8}
    synthetic.write(tmp_path, synthetic.truth(["rf"]), sizes=[(1, 500), (2, 500)], **options)  # type: ignore[arg-type]
    drawn = charts.draw(scaling.report(run.read(tmp_path)))
    assert [d.name for d in drawn] == ["scaling_compute", "scaling_quality"]
    assert "no intervals" in drawn[0].caption


def test_the_figure_of_a_law_says_where_it_is_not_known(tmp_path: Path) -> None:
    out = synthetic.write(
        tmp_path, synthetic.truth(["rf"]), sizes=((1, 100), (1, 400), (2, 200), (2, 800)), samples=8
    )
    found = scaling.report(run.read(out))
    caption = charts.compute(found, PAGE).caption
    assert "Dashed: L = " in caption
    assert "decades of compute: E and alpha are bounded at best, not known" in caption
    for warning in found.frontier.warnings:
        assert warning[1:] in caption


def test_a_panel_for_what_there_is_only_one_of_is_left_out(tmp_path: Path) -> None:
    options = {"settings": ((50, 5.0),), "weights": ("ema",), "samples": 8}
    synthetic.write(tmp_path, synthetic.truth(["rf"]), sizes=[(2, s) for s in (100, 500, 900)], **options)  # type: ignore[arg-type]
    drawn = charts.sizes(scaling.report(run.read(tmp_path)), PAGE)
    assert [panel.get_xlabel() for panel in drawn.figure.axes] == ["training steps"]


def test_errors_are_one_sentence(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    for arguments, words in (
        ([str(folder), "--format", "jsn"], "did you mean 'json'?"),
        ([str(folder), "--where", "x"], "--where 'x' is not NAME=VALUE"),
        ([str(folder), "--fort", "x"], "unknown option '--fort'"),
        ([str(folder), "--out", str(tmp_path / "file")], "is a file"),
        ([str(tmp_path / "nothing")], "there is no"),
        ([str(folder), "--out", str(tmp_path), "--width", "pgae"], "did you mean 'page'?"),
        ([str(folder), "--width", "column"], "name a folder for them with --out"),
    ):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert not out
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert words in err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from analysis.scaling.__main__ import parser; parser().format_help();"
        "print([m for m in ('pandas', 'scipy', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (147_456.0, "1.47e5"),
        (3.96e14, "3.96e14"),
        (500.0, "500"),
        (99_999.0, "99999"),
        (0.25, "0.25"),
        (1e5, "1.00e5"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert numbers.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1e14, "1e14"), (1.5e13, "1.5e13"), (500.0, "500"), (3e6, "3e6")]
)
def test_powers(value: float, text: str) -> None:
    assert numbers.power(value) == text


def test_spans() -> None:
    row = {
        "x": 0.4425,
        "x_low": 0.4394,
        "x_high": float("nan"),
        "y": float("nan"),
        "z": 1.0,
        "z_low": float("nan"),
    }
    assert numbers.span({**row, "x_high": 0.4456}, "x", 3) == "0.443 [0.439, 0.446]"
    assert numbers.span(row, "y", 3) == ""
    assert numbers.span(row, "z", 1) == "1.0"
