"""``import flowbench as fb``: train, load, sample and rank as the commands do, and mistakes in one sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import flowbench as fb
from analysis import rank
from bench import draw
from bench.cli.parser import parse
from bench.driver import run_local
from bench.planning import plan
from flowbench import api
from flowbench.api import words

from ..bench.conftest import run_here
from ..bench.runs import SMALL

CAPTION = "a photo of the digit seven"


def options(argv: list[str]) -> dict[str, Any]:
    """A command line as options of Python."""
    found: dict[str, Any] = {}
    for word in argv:
        if word.startswith("--"):
            found[name := word.removeprefix("--").replace("-", "_")] = []
        else:
            found[name].append(word)
    return found


TINY: dict[str, Any] = options(SMALL) | {
    "datasets": "digits",
    "resolution": 8,
    "steps": 4,
    "warmup": 1,
    "validations": 1,
    "settings": ["2:2.5", "3:1"],
    "samples": 8,
    "compile": "off",
}
TINY.pop("formulations")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fb.TrainedRun:
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch)
        return fb.train(
            ["rf/lognorm(0,1)", "eps/linear"], out=tmp_path_factory.mktemp("face") / "run", **TINY
        )


def test_a_run_has_its_formulations(run: fb.TrainedRun) -> None:
    assert list(run) == ["eps/linear", "rf/lognorm(0.00,1.00)"]
    assert len(run) == 2
    assert "eps/linear" in run
    assert "rf" not in run
    assert Path(run) == run.path
    assert str(run) == str(run.path)
    assert "rf/lognorm(0,1)" in run, "in any spelling"
    assert "rf/lognorm(7,1)" not in run
    assert run["rf/lognorm(0, 1)"].cell.formulation == "rf/lognorm(0.00,1.00)"


def test_images_are_those_of_the_command(run: fb.TrainedRun, tmp_path: Path) -> None:
    images = fb.load(run.path)["eps/linear"].sample(CAPTION, n=3, steps=2, cfg=1.5, seed=4)
    assert (images.shape, images.dtype) == ((3, 8, 8, 3), np.uint8)
    how = ["--n", "3", "--steps", "2", "--cfg", "1.5", "--seed", "4", "--out", str(tmp_path / "a.png")]
    assert draw.main([str(run.path), "eps/linear", CAPTION, *how]) == 0
    assert np.array_equal(np.asarray(fb.sheet(images)), np.asarray(Image.open(tmp_path / "a.png")))


@pytest.mark.usefixtures("here")
def test_a_formulation_of_a_file(plugin: Path, tmp_path: Path) -> None:
    run = fb.train([f"{plugin}:late", "v/*"], out=tmp_path / "run", **TINY)
    assert list(run) == ["my/late(2.00)", "v/cos", "v/linear"]
    images = fb.load(run, plugin=plugin)["my/late(2)"].sample(CAPTION, steps=1)
    assert images.shape == (1, 8, 8, 3)
    again = parse(["--config", str(run.path / "config.toml"), "--out", str(run.path)])
    ids = {p.cell.id for p in plan.make(again.grid, run.path).cells}
    assert ids == {folder.name for folder in (run.path / "cells").iterdir()}
    assert again.plugins == (plugin,)


def test_each_caption_has_images_of_its_own(run: fb.TrainedRun) -> None:
    model = run["eps/linear"]
    seven, both = model.sample(CAPTION, n=2), model.sample([CAPTION, "a photo of the digit one"], n=2)
    assert both.shape == (4, 8, 8, 3)
    # products of other sizes may be rounded otherwise
    assert np.abs(seven.astype(int) - both[:2]).max() <= 1
    assert not np.array_equal(both[0], both[2])


def test_the_ranking_is_that_of_the_command(
    run: fb.TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fb.rank(run, where=["steps=2"], by="steps")
    assert rank.main([str(run.path), "--where", "steps=2", "--by", "steps", "--format", "csv"]) == 0
    (tmp_path / "a.csv").write_text(capsys.readouterr().out)
    there = pd.read_csv(tmp_path / "a.csv")
    assert list(found["formulation"]) == list(there["formulation"])
    for column in ("rank_all", "rank[steps=2]", "fid", "clip", "val_loss"):
        assert list(found[column]) == list(there[column]), column


def test_what_is_trained_is_not_trained_again(run: fb.TrainedRun) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.path.glob("cells/*/ema.safetensors")}
    again = fb.train("eps/linear", out=run, **TINY)
    assert again.path == run.path
    assert {p: p.stat().st_mtime_ns for p in run.path.glob("cells/*/ema.safetensors")} == before


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda run: fb.train("rf/lognrm(0,1)", out=run), "lognorm"),
        (lambda run: fb.train("rf", stepz=4, out=run), "did you mean '--steps'"),
        (lambda run: fb.train("rf", steps=0, out=run), "--steps 0"),
        (lambda run: fb.train("rf", dry_run=True, out=run), "python -m bench.grid --dry-run"),
        (lambda run: fb.load(f"{os.fspath(run)[:-1]}m"), "/run'?"),
        (lambda run: fb.rank(f"{os.fspath(run)[:-1]}m"), "/run'?"),
        (lambda run: fb.load(run)["eps/linar"], "did you mean 'eps/linear'"),
        (lambda run: fb.load(run, dataset="digit")["eps/linear"], "did you mean 'digits'"),
        (lambda run: fb.load(run)["eps/linear"].sample("a photo of the digit sevn"), "did you mean 'seven'"),
        (lambda run: fb.load(run)["eps/linear"].sample(CAPTION, solver="eulr"), "did you mean 'euler'"),
        (lambda run: fb.load(run)["eps/linear"].sample([CAPTION] * 99, n=9), "choose 1 to"),
        (lambda run: fb.load(run)["eps/linear"].sample([]), "choose 1 to"),
        (lambda run: fb.load(run)["eps/linear"].sample(CAPTION, steps=2.5), "a whole number is wanted"),
        (lambda run: fb.load(run)["eps/linear"].sample(CAPTION, seed="x"), "a whole number is wanted"),
        (lambda run: fb.load(run)["eps/linear"].sample([7]), "text or a list of text is wanted"),
        (lambda run: fb.load(3), "load(run=3): text or a path is wanted"),
        (lambda run: fb.load(run, plugin=["a.py", None]), "text or a path or a list of text or a path"),
        (lambda run: fb.rank(3), "rank(run=3): text or a path is wanted"),
        (lambda run: fb.rank(run, where=5), "rank(where=5)"),
        (lambda run: fb.train(3), "train(formulations=3): text or a list of text is wanted"),
        (lambda run: fb.train("rf", out=3), "train(out=3): text or a path or None is wanted"),
        (lambda run: fb.compare("rf", 4), "compare(formulations=4): text is wanted"),
        (lambda run: run[3], "(formulation=3): text is wanted"),
        (lambda run: fb.sheet(np.zeros((2, 8, 8, 3))), "not float64 [2, 8, 8, 3]"),
        (lambda run: fb.rank(run, by="step"), "steps"),
    ],
)
def test_mistakes_are_one_sentence(run: fb.TrainedRun, mistake: Any, words: str) -> None:
    with pytest.raises(fb.UserError) as error:
        mistake(run)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("here", "plugin")
def test_the_first_study_of_the_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer steps, and on fewer images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(api, "train", partial(fb.train, **TINY | {"seeds": 2}))
    text = (Path(fb.ROOT) / "examples" / "first_study.py").read_text(encoding="utf-8")
    text = text.replace("steps=STEPS, seeds=SEEDS, ", "")
    made: dict[str, Any] = {}
    exec(compile(text, "first_study.py", "exec"), made)
    assert set(made["ranking"]["formulation"]) == {"my/late(2.00)", "eps/linear", "rf/lognorm(0.00,1.00)"}
    assert made["images"].shape == (7, 8, 8, 3)
    assert {p.name for p in tmp_path.glob("*.png")} == {
        "eps-linear.png",
        "rf-lognorm(0.00,1.00).png",
        "first-study.png",
    }


@pytest.mark.usefixtures("here")
def test_a_run_without_a_trained_cell_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(fb.UserError, match="no cell could be trained"):
        fb.train("eps/linear", out=tmp_path / "run", **TINY | {"lr": 1e30})


def test_a_run_may_be_started_from_any_thread(tmp_path: Path) -> None:
    """Only the main one may have handlers of signals."""

    class Pool:
        def stop(self, reason: str) -> None: ...

    def enter() -> Any:
        with run_local.stopped_by_signals(Pool()):  # type: ignore[arg-type]
            return signal.getsignal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor() as threads:
        assert threads.submit(enter).result() == before
    assert enter() != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_options_of_python_are_those_of_the_command() -> None:
    found = words(
        {"minutes": 10, "train_images": 32, "settings": ["5:5", "7:1"], "trust_folder": True, "seeds": None}
    )
    assert found == ["--minutes", "10", "--train-images", "32", "--settings", "5:5", "7:1", "--trust-folder"]


def test_it_is_imported_when_it_is_used() -> None:
    assert all(getattr(fb, name) is getattr(api, name) for name in api.__all__)
    assert {*api.__all__, "UserError", "formulations"} == fb.PUBLIC.keys() <= set(dir(fb))
    assert fb.formulations.get("rf").name == "rf"
    assert fb.__version__ == metadata.version("flowbench")
    with pytest.raises(AttributeError, match="no attribute 'campare'; did you mean 'compare'"):
        _ = fb.campare  # type: ignore[attr-defined]
    code = "import flowbench, sys; print(sorted({'torch', 'numpy', 'pandas', 'bench', 'samplers'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=fb.ROOT
    )
    assert done.stdout == "[]\n"
