"""``python -m analysis.plots``: its files, its options, and its one-sentence errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.plots.__main__ import main

from ..plotted import FEW, folder

FAST = ["--only", "ranks", "--format", "svg"]
PLANE = ["--only", "plane", "--format", "svg"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(
        tmp_path_factory.mktemp("run"), FEW[:3], datasets=("x", "y"), settings=((25, 5.0), (5, 5.0))
    ).path


def error(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    assert main([str(a) for a in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_files_and_lines(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run)]) == 0
    printed = capsys.readouterr().out.splitlines()
    names = ("plane", "steps", "ranks", "levels", "budget", "curves", "samples")
    files = [str(run / "plots" / f"{name}.{kind}") for name in names for kind in ("png", "svg", "txt")]
    assert printed[: len(files)] == files
    assert [line.split(" cannot be drawn: ")[0] for line in printed[len(files) :]] == ["evaluations", "heat"]
    assert sorted(p.name for p in (run / "plots").iterdir()) == sorted(
        Path(f).name for f in files
    )  # no temporary files
    assert (run / "plots" / "plane.png").read_bytes().startswith(b"\x89PNG")


def test_out_only_format(run: Path, tmp_path: Path) -> None:
    assert (
        main([str(run), "--out", str(tmp_path / "a" / "b"), "--only", "ranks", "curves", "--format", "txt"])
        == 0
    )
    assert sorted(p.name for p in (tmp_path / "a" / "b").iterdir()) == ["curves.txt", "ranks.txt"]


def test_where(run: Path, tmp_path: Path) -> None:
    for i, where in enumerate(([], ["dataset=x"], ["dataset=x", "steps=5"])):
        argv = [str(run), "--out", str(tmp_path / str(i)), "--only", "plane", "--format", "svg", "txt"]
        assert main([*argv, *(["--where", *where] if where else [])]) == 0
    captions = [(tmp_path / str(i) / "plane.txt").read_text() for i in range(3)]
    assert "on x and y at EMA weights, 25 sampling steps" in captions[0]
    assert "on x at EMA weights, 25 sampling steps" in captions[1]
    assert "on x at EMA weights, 5 sampling steps" in captions[2]
    assert len({(tmp_path / str(i) / "plane.svg").read_bytes() for i in range(3)}) == 3


def test_a_table_has_its_figures_next_to_it(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(
        "formulation,dataset,weights,steps,cfg,clip,fid\nrf,x,ema,25,5,30,10\nv/cos,x,ema,25,5,31,11\n"
    )
    assert main([str(file), *PLANE]) == 0
    assert [p.name for p in (tmp_path / "plots").iterdir()] == ["plane.svg"]


def test_again_the_same_bytes_in_another_process_without_torch(run: Path, tmp_path: Path) -> None:
    argv = [str(run), "--only", "plane", "--out"]
    assert main([*argv, str(tmp_path / "here")]) == 0
    code = (
        "import sys\nfrom analysis.plots.__main__ import main\n"
        "main(sys.argv[1:])\n"
        "print(sorted({'torch', 'bench.config.experiment', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    command, env = [sys.executable, "-c", code, *argv], {**os.environ, "PYTHONHASHSEED": "7"}
    there = tmp_path / "there"
    done = subprocess.run([*command, str(there)], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    files = list((tmp_path / "here").iterdir())
    assert len(files) == 3
    for file in files:
        assert file.read_bytes() == (there / file.name).read_bytes(), file.name


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom analysis.plots.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'matplotlib', 'pandas', 'scipy', 'pyarrow', 'bench.config.experiment'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert all(word in out for word in ("plane", "samples", "--only", "--format", "--where", "--out"))


def test_unknown_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no figure 'rank'; did you mean 'ranks'?" in error(capsys, run, "--only", "rank")
    assert "there is no format 'pdf'; known: 'png', 'svg', 'txt'" in error(capsys, run, "--format", "pdf")
    assert "did you mean 'dataset'" in error(capsys, run, "--where", "datset=x")
    assert "no such rows" in error(capsys, run, "--where", "dataset=z")
    assert "--onyl" in error(capsys, run, "--onyl", "ranks")


def test_no_such_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no" in error(capsys, tmp_path / "absent")
    assert "holds no results" in error(capsys, tmp_path)


def test_a_folder_that_cannot_be_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("here")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"cannot write figures into {str(out)!r}: " in error(capsys, run, *FAST, "--out", out)
    assert (tmp_path / "file").read_text() == "here"


def test_nothing_can_be_drawn(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "heat cannot be drawn: neither rf/lognorm(m,s) nor edm(Pm,Ps)" in error(
        capsys, run, "--only", "heat"
    )


def test_mixed_recipes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = folder(tmp_path, FEW[:2], seeds=1, pictures=0, sizes=((2, 500), (4, 500)))
    assert "--where model.depth=2" in error(capsys, about.path, *FAST)
    assert main([str(about.path), *PLANE, "--where", "model.depth=2"]) == 0


def test_a_figure_is_never_half_written(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays if writing fails."""
    assert main([str(run), *FAST, "--out", str(tmp_path)]) == 0
    before = (tmp_path / "ranks.svg").read_bytes()

    def broken(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    assert main([str(run), *FAST, "--out", str(tmp_path), "--where", "dataset=x"]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["ranks.svg"]
    assert (tmp_path / "ranks.svg").read_bytes() == before
