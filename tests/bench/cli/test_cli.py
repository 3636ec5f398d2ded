"""The options of the command: what they reach, and the sentence that answers a mistake."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import grid
from bench.cli import conflicts
from bench.cli.parser import parse, parser
from bench.config.experiment import MOST_SEEDS
from bench.planning import plan

BASE = ["--preset", "smoke", "--device", "cpu"]

MISTAKES = [
    (["--preset", "quik"], "unknown preset 'quik': did you mean 'quick'"),
    (["--formulatons", "rf"], "did you mean '--formulations'"),
    (["--formulations", "rf/lognrm(0,1)"], "lognorm"),
    (["--formulations", "rf/mode(1.8)"], "1.75"),
    (["--formulations", "rf/lognorm(0,0)"], "s > 0"),
    (["--formulations", "zz*"], "matches"),
    (["--samplers", "cosmop"], "cosmap"),
    (["--datasets", "shape"], "shapes"),
    (["--datasets", "images:/nowhere/at/all"], "/nowhere/at/all"),
    (["--steps", "many"], "--steps"),
    (["--steps", "-3"], "--steps -3"),
    (["--seeds", "0"], "--seeds 0"),
    (["--depths", "1", "0"], "--depths 0"),
    (["--depths", "1", "x"], "--depths"),
    (["--budgets", "-3"], "--budgets -3"),
    (["--depth", "1", "--depths", "1", "2"], "--depths and --depth: choose one"),
    (["--steps", "9", "--budgets", "9", "10"], "--budgets and --steps: choose one"),
    (["--confirm", "0"], "--confirm 0: choose 1 to 100"),
    (["--confirm", "101"], "--confirm 101: choose 1 to 100"),
    (["--confirm", "2"], "--confirm needs at least 2 seeds"),
    (["--confirm", "2", "--seeds", "2", "--formulations", "rf"], "--confirm needs at least 2 formulations"),
    (["--confirm", "2", "--cancel"], "--confirm does nothing with --cancel"),
    (["--confirm", "2", "--depths", "1", "2"], "choose with --model, --depth and --steps"),
    (["--confirm", "2", "--budgets", "6", "7"], "choose with --model, --depth and --steps"),
    (["--pack", "0"], "--pack: '0' is not a whole number greater than 0, or 'auto'"),
    (["--replicas", "0"], "--replicas: '0' is not a whole number greater than 0"),
    (["--replicas", "2", "--device", "cuda:1"], "choose auto, cpu or cuda"),
    (["--accumulate", "0"], "--accumulate: '0' is not a whole number greater than 0"),
    (["--checkpoint", "0"], "--checkpoint: '0' is not a finite number greater than 0"),
    (["--tflops", "nan"], "--tflops: 'nan' is not a finite number greater than 0"),
    (["--price", "inf"], "--price: 'inf' is not a finite number greater than 0"),
    (["--pack", "x"], "'x' is not a whole number greater than 0, or 'auto'"),
    (["--pack"], "--pack"),
    (["--compile", "maybe"], "--compile: invalid choice: 'maybe'"),
    (["--seeds", "99999999999"], "at most"),
    (["--heads", "0"], "must be greater than 0"),
    (["--width", "0"], "must be greater than 0"),
    (["--lr", "inf"], "finite"),
    (["--device", "meta"], "--device"),
    (["--settings", "50"], "STEPS:CFG"),
    (["--weights", "best"], "'ema', 'raw'"),
    (["--patch", "3"], "nearest that does is"),
    (["--device", "cuda:99"], "--device"),
    (["--device", "gpu"], "--device"),
    (["--plugin", "nowhere.py"], "nowhere.py"),
    (["--extractor", "tinyklip"], "tinyclip"),
    (["--text", "inception:x"], "inception"),
    (["--text", "tinyclip:nowhere.safetensors"], "nowhere.safetensors"),
    (["--settings", "4:1", "4:1.0000001"], "--settings names 4:1 twice: leave one of them out"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("argv", "words"), MISTAKES, ids=[" ".join(argv) for argv, _ in MISTAKES])
def test_mistakes(argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert grid.main([*BASE, *argv, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    said = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert words in said[0]
    assert "Traceback" not in error
    assert not list(out.rglob("*.parquet"))
    assert not out.exists()


@pytest.mark.usefixtures("here")
def test_compiling_without_a_compiler_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers find out; the command lets no folder stand that was made for nothing."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CXX", raising=False)
    out = tmp_path / "run"
    assert grid.main([*BASE, "--compile", "on", "--out", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == "error: --compile on: there is no C++ compiler here: use '--compile off'"
    assert not out.exists()


def test_a_folder_that_is_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert grid.main([*BASE, "--out", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err
    assert grid.main([*BASE, "--out", str(tmp_path / "thesis.tex")]) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


LOOKS = [
    ["--help"],
    ["--dry-run", "--tflops", "1"],
    ["--dry-run", "--tflops", "1", "--preset", "paper"],
    ["--status"],
]


@pytest.mark.parametrize("argv", LOOKS, ids=" ".join)
def test_help_and_looks_are_quick(argv: list[str], tmp_path: Path) -> None:
    """None of them imports what takes a second to import, so neither does the command before it needs it."""
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('MODULES', *sys.modules))\n"
        "from bench import grid\n"
        "sys.exit(grid.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *argv, "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (modules,) = (line.split()[1:] for line in done.stdout.splitlines() if line.startswith("MODULES "))
    assert "bench.driver.drive" in modules
    assert not {"torch", "pandas", "scipy", "matplotlib", "submitit"} & set(modules)
    assert not (tmp_path / "run").exists()


def test_dry_run_prints_the_plan_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grid.main(["--preset", "paper", "--dry-run", "--tflops", "1", "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "122 cells: 61 formulations x 2 datasets x 1 seed" in printed
    assert "edm(-1.20,1.20)" in printed
    assert not (tmp_path / "run").exists()


EVERYTHING = """
--preset smoke --formulations rf --samplers cosmap --datasets digits --seeds 2 --first-seed 5
--depth 2 --width 64 --heads 4 --patch 2 --text clip:x
--resolution 32 --train-images 9 --validation-images 8 --steps 3 --batch 2 --lr 1 --warmup 1 --betas .8 .9
--gradients clip:2 --decay .5
--weight-decay .1 --ema .3 --milestones .5 --dropout .4 --validations 2 --validation-batch 8 --precision bf16 --settings 7:2
--weights raw --samples 5 --start 20 --extractor clip:y
"""


@pytest.mark.parametrize(
    "argv",
    [
        ["--datasets", "shape"],
        ["--datasets", "images:/no"],
        ["--text", "foo"],
        ["--extractor", "tinyclip:no"],
    ],
)
def test_a_plan_refuses_what_a_run_would(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert grid.main(["--preset", "smoke", "--dry-run", *argv]) == 2
    assert argv[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "pack", "compiled"),
    [
        ([], None, "auto"),
        (["--pack", "auto", "--compile", "auto"], None, "auto"),
        (["--pack", "3", "--compile", "on"], 3, "on"),
        (["--compile", "off"], None, "off"),
    ],
)
def test_pack_and_compile_are_auto_unless_given(argv: list[str], pack: int | None, compiled: str) -> None:
    args = parse(["--preset", "smoke", *argv])
    assert (args.execution.pack, args.execution.compile) == (pack, compiled)
    assert args.grid == parse(["--preset", "smoke"]).grid, "neither is part of what an experiment is"


def test_seeds_end_where_those_of_confirmations_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(parse([*BASE, "--first-seed", "900", "--seeds", "2"]).grid.every_seed) == [900, 901]
    assert parse([*BASE, "--first-seed", "900", "--minutes", "1"]).grid.every_seed == range(900, MOST_SEEDS)
    for argv in (["--first-seed", "999", "--seeds", "2"], ["--first-seed", "-1"], ["--first-seed", "1000"]):
        assert grid.main([*BASE, *argv]) == 2
        assert "--first-seed" in capsys.readouterr().err


def test_every_option_reaches_the_configuration() -> None:
    usual = parse(["--preset", "smoke"]).grid
    changed = parse(EVERYTHING.split()).grid
    several = parse([*BASE, "--depths", "2", "3", "--budgets", "4", "5"]).grid
    changed = replace(changed, depths=several.depths, budgets=several.budgets)
    from bench.config.identity import full

    def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in tree.items():
            flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return flat

    before, after = leaves(full(usual)), leaves(full(changed))
    assert [key for key in before if before[key] == after[key]] == []
    assert plan.differing(full(usual), full(changed)).count(",") == len(before | after) - 1


LOOKING = ("dry-run", "status", "watch", "cancel")
IDLE = {
    "--retry failed": LOOKING,
    "--wait": LOOKING,
    "--readable-by all": LOOKING,
    "--track tensorboard": LOOKING,
    "--trust-folder": ("status", "watch"),
    "--canary": LOOKING[1:],
    "--tflops 1": LOOKING[1:],
}


@pytest.mark.parametrize("option", IDLE)
def test_an_option_that_would_do_nothing_is_refused(option: str) -> None:
    for look in LOOKING:
        args = parser().parse([*option.split(), f"--{look}"])
        sentences = [
            sentence for sentence in conflicts.conflicts(args, look) if f"nothing with --{look}" in sentence
        ]
        assert len(sentences) == (look in IDLE[option]), look
