"""One comparison over several runs, and pages whose tables are what commands print."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import gmean

from analysis import fill, pairs
from analysis.comparisons import pair_rows
from analysis.comparisons.baseline import against
from analysis.runs import run, synthetic
from analysis.runs.run import Run

from .plotted import of_networks

NAMES = ("rf", "eps/linear", "v/cos")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = []
    for name, quality in (("short", 0.0), ("long", 3.0)):
        folder = tmp_path_factory.mktemp("runs") / name
        folder.mkdir()
        synthetic.write(folder, synthetic.Truth(NAMES, (0.0, quality, 0.1), seed=1), seeds=6)
        made.append(folder)
    return made


def printed(capsys: pytest.CaptureFixture[str], *argv: Any) -> str:
    assert pairs.main([*map(str, argv)]) == 0
    return capsys.readouterr().out


def test_a_row_for_each_run_and_rival(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, *runs, "--baseline", "rf")
    assert [line.split()[:2] for line in text.splitlines() if line.startswith(("short", "long"))] == [
        ["short", "v/cos"],
        ["short", "eps/linear"],
        ["long", "eps/linear"],
        ["long", "v/cos"],
    ]
    one = printed(capsys, runs[1], "--baseline", "rf", "--formulations", "eps/linear")
    assert "v/cos" not in one
    assert "better" in one


def test_each_row_has_five_per_cent_of_its_own(runs: list[Path]) -> None:
    found = pair_rows.compared(run.read(runs[1]), "rf", None, ("fid", "clip"), None)
    assert [one.each for one in found] == [0.05, 0.05]
    pair = run.read(runs[1]).formulations("rf", "eps/linear")
    (alone,) = against(pair, "rf", ("clip",), "fid").of("fid")
    assert alone in [row for one in found for row in one.of("fid")]


def test_a_folder_has_its_whole_name(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [shutil.copytree(runs[0], tmp_path / name) for name in ("lr-0.001", "lr-0.003")]
    text = printed(capsys, *made, "--baseline", "rf", "--formulations", "v/cos")
    assert "lr-0.001" in text
    assert "lr-0.003" in text


def test_metrics_and_margin_change_the_answer(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert "equivalent" in printed(capsys, runs[0], "--baseline", "rf", "--margin", "200")
    by_clip = printed(capsys, runs[1], "--baseline", "rf", "--metrics", "clip", "fid")
    assert by_clip.index("CLIP") < by_clip.index("FID")
    for mistake in (
        ["--formulations", "edm"],
        ["--margin", "-1"],
        ["--metrics", "fdi"],
        ["--metrics", "fid", "clipp"],
        ["--formulations", "rf"],
        ["--baseline", "rff"],
    ):
        assert pairs.main([str(runs[0]), "--baseline", "rf", *mistake]) == 2
        assert "error: " in capsys.readouterr().err


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return of_networks(tmp_path_factory.mktemp("networks") / "run", NAMES[:2], seeds=5)


def test_networks_are_compared_over_all_formulations_and_within_each(
    networks: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--by", "model", "--baseline", "mmdit"]
    text = printed(capsys, networks.path, *options, "--metrics", "val_loss", "fid")
    assert [line.split()[:3] for line in text.splitlines() if line.startswith("run ")] == [
        ["run", "formulation", "network"],
        ["run", "all", "dit"],
        ["run", "rf", "dit"],
        ["run", "eps/linear", "dit"],
    ]
    mean, *_ = pair_rows.of_networks(run.read(networks.path), "mmdit", None, ("val_loss",), None)
    (every,) = mean.found.rows
    frame = networks.frame.drop_duplicates("cell")
    logs = np.log(frame.pivot_table(index="dataset", columns="seed", values="val_loss", aggfunc=gmean))
    assert every.n == 5
    assert every.estimate == pytest.approx(100 * np.expm1((logs.iloc[0] - logs.iloc[1]).mean()))
    assert logs.index[0].endswith("with dit")
    one = printed(capsys, networks.path, *options, "--formulations", "rf")
    assert "all" not in one.split()
    assert "eps/linear" not in one
    over_all = printed(capsys, networks.path, *options, "--formulations", "all")
    assert [line.split()[1] for line in over_all.splitlines() if line.startswith("run ")] == [
        "formulation",
        "all",
    ]


def test_formulations_of_several_networks_are_compared_by_the_mean_over_these(
    networks: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed(capsys, networks.path, "--baseline", "rf")
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("run ")][1:] == [
        ["run", "eps/linear"]
    ]


def test_mistakes_of_networks(networks: Run, runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for folder, options, message in (
        (runs[0], [], "does not have several networks"),
        (networks.path, ["--formulations", "edm"], "choose from all, rf, eps/linear"),
        (networks.path, ["--baseline", "ditt"], "did you mean 'dit'"),
    ):
        assert pairs.main([str(folder), "--by", "model", "--baseline", "mmdit", *options]) == 2
        assert message in capsys.readouterr().err


def test_a_page_has_what_its_command_prints(runs: list[Path], tmp_path: Path, capsys: Any) -> None:
    named = f"<!-- python -m analysis.pairs {runs[1]} --baseline rf --format md -->"
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{named}\n<!-- end -->\n\nAfter.\n")
    assert fill.main(["--check", str(page)]) == 1
    assert fill.main([str(page)]) == 0
    assert fill.main(["--check", str(page)]) == 0
    capsys.readouterr()
    table = printed(capsys, runs[1], "--baseline", "rf", "--format", "md").strip()
    assert page.read_text() == f"Before.\n\n{named}\n\n{table}\n\n<!-- end -->\n\nAfter.\n"
    page.write_text(page.read_text().replace("eps/linear", "eps/cos"))
    assert fill.main(["--check", str(page)]) == 1


def test_a_page_keeps_its_line_ends(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    text = f"Before.\n<!--python -m analysis.pairs {runs[1]} --baseline rf --format md--> \n<!-- end -->\nAfter.\n"
    for ends in ("\n", "\r\n"):
        page.write_text(text, newline=ends)
        assert fill.main([str(page)]) == 0
        written = page.read_bytes()
        assert written.count(b"\r\n") == (written.count(b"\n") if ends == "\r\n" else 0)
        assert b"| run " in written
        assert fill.main(["--check", str(page)]) == 0


def test_a_page_that_cannot_be_written_is_named(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"<!-- python -m analysis.pairs {runs[1]} --baseline rf -->\n<!-- end -->\n")

    def refused(**given: Any) -> None:
        raise OSError(30, "Read-only file system", str(tmp_path / ".new-12345"))

    monkeypatch.setattr("tempfile.mkstemp", refused)
    assert fill.main([str(page)]) == 2
    assert capsys.readouterr().err == f"error: {page}: Read-only file system\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- python -m analysis.claims x -->\n", "no <!-- end -->"),
        (
            "<!-- python -m analysis.claims x -->\n<!-- python -m analysis.claims y -->\n<!-- end -->",
            "no <!-- end -->",
        ),
        ("<!-- python -m analysis.archive x y -->\n<!-- end -->", "cannot name analysis.archive"),
        (
            "<!-- python -m analysis.claims nowhere -->\n<!-- end -->",
            "page.md: <!-- python -m analysis.claims nowhere -->: ",
        ),
        ("<!-- python -m analysis.claims 'a -->\n<!-- end -->", "No closing quotation"),
        ("<!-- python -m analysis.claims --help -->\n<!-- end -->", "--help"),
        ("<!-- python -m analysis.claims x --> text\n<!-- end -->", "alone on its line"),
        ("<!-- python -m analysis.claims x\n-->\n<!-- end -->", "alone on its line"),
    ],
)
def test_mistakes_in_a_page_get_a_sentence(text: str, message: str, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    assert fill.main([str(page)]) == 2
    assert message in capsys.readouterr().err
    assert page.read_text() == text
