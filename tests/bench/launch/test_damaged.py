"""Files that are cut short or filled with noise are noticed, said, and made again by the same command: the same results."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import grid
from flowbench._core import atomic

from ...faults import Faults
from .conftest import Ends
from .forks import outcome

COMMAND = [
    "--preset", "smoke", "--formulations", "rf/lognorm(0,1)", "eps/linear", "--train-images", "32",
    "--validation-images", "16", "--steps", "6", "--batch", "8", "--validations", "2", "--validation-batch", "16",
    "--settings", "2:1", "--weights", "ema", "--samples", "4", "--device", "cpu", "--compile", "off", "--pack", "2",
    "--checkpoint", "1e-9",
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def finished(forked: Ends, runs: Path, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    whole = runs / "finished"
    if not whole.exists():
        assert grid.main([*COMMAND, "--out", str(whole)]) == 0
    return Path(shutil.copytree(whole, tmp_path / "run"))


@pytest.fixture
def whole(finished: Path) -> dict[str, Any]:
    return outcome(finished)


@pytest.fixture
def killed(forked: Ends, runs: Path, tmp_path: Path, whole: dict[str, Any]) -> Callable[[int, str], Path]:
    """A copy of a run that ended before a change of a file; the same command continues it."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    gone = process.pid

    def make(number: int, name: str) -> Path:
        kept = runs / f"{name.upper()}{number}"  # and not the name itself, which is looked for in paths
        if not kept.exists():
            forked.append((number, name))
            assert grid.main([*COMMAND, "--out", str(kept)]) != 0
            assert not forked
            (file,) = kept.glob("submissions/*/submission.json")
            atomic.write_json(
                file, atomic.read_object(file) | {"pid": gone}
            )  # the command is no process of now
        return Path(shutil.copytree(kept, tmp_path / "killed"))

    return make


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def noise(content: bytes) -> bytes:
    return random.Random(1).randbytes(len(content))


def empty(content: bytes) -> bytes:
    return b""


Damage = Callable[[bytes], bytes]


def damaged(out: Path, pattern: str, damage: Damage) -> Path:
    """Damages the first file of a pattern."""
    file = sorted(out.glob(pattern))[0]
    file.write_bytes(damage(file.read_bytes()))
    return file


@pytest.mark.parametrize(
    ("damage", "pattern", "sentence"),
    [
        (noise, "cells/*/config.json", "is run again: {file} cannot be read"),
        (empty, "cells/*/status.json", "is run again: {file} cannot be read"),
        (cut, "cells/*/*/result.json", "is measured again: {file} cannot be read"),
    ],
)
def test_a_finished_cell(
    pattern: str,
    sentence: str,
    damage: Damage,
    finished: Path,
    whole: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = damaged(finished, pattern, damage)
    assert grid.main([*COMMAND, "--out", str(finished)]) == 0
    assert sentence.format(file=file) in capsys.readouterr().err
    assert outcome(finished) == whole


def last_byte(content: bytes) -> bytes:
    """A pixel is another: only the digest shows it."""
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(("damage", "suffix"), [(cut, "json"), (last_byte, "safetensors")])
def test_real_scores(damage: Damage, suffix: str, finished: Path, whole: dict[str, Any]) -> None:
    """They are made again without a word: nothing is lost."""
    (file,) = finished.glob(f"real-scores/*/*.{suffix}")
    before = file.read_bytes()
    file.write_bytes(damage(before))
    assert grid.main([*COMMAND, "--out", str(finished)]) == 0
    assert file.read_bytes() == before
    assert outcome(finished) == whole


@pytest.mark.parametrize(
    ("damage", "pattern", "sentence"),
    [
        (
            noise,
            "cells/*/checkpoint-00000003*",
            "the checkpoint of step 3 is not used: {file} cannot be read",
        ),
        (empty, "cells/*/config.json", "is run again: {file} cannot be read"),
        (cut, "cells/*/metrics.jsonl", "continuing at step 3"),
        (noise, "cells/*/lease.json", "continuing at step 3"),
        (empty, "submissions/*/share-0000.json", "continuing at step 3"),
        (cut, "submissions/*/beat-0000.json", "continuing at step 3"),
        (noise, "grid.json", "continuing at step 3"),
    ],
)
def test_a_training(
    pattern: str,
    sentence: str,
    damage: Damage,
    killed: Callable[[int, str], Path],
    whole: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    faults: Faults,
) -> None:
    out = killed(1, "checkpoint-00000004")
    file = damaged(out, pattern, damage)
    capsys.readouterr()
    assert grid.main([*COMMAND, "--out", str(out)]) == 0
    assert sentence.format(file=file) in capsys.readouterr().err
    assert outcome(out) == whole
    if "checkpoint" in pattern:
        faults(
            14,
            "a checkpoint is filled with noise",
            "`the checkpoint of step N is not used: FILE cannot be read ...`",
        )


@pytest.mark.parametrize(
    ("damage", "pattern", "sentence"),
    [
        (empty, "cells/*/ema.safetensors", "{file} cannot be read"),
        (cut, "cells/*/images-*/*", "generated again: {file} cannot be read"),
    ],
)
def test_a_measuring(
    pattern: str,
    sentence: str,
    damage: Damage,
    killed: Callable[[int, str], Path],
    whole: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Damaged weights are noticed when they are needed: then the cell is trained again."""
    out = killed(1, "images-" if "ema" in pattern else "per_sample")
    file = damaged(out, pattern, damage)
    capsys.readouterr()
    assert grid.main([*COMMAND, "--out", str(out)]) == 0
    assert sentence.format(file=file) in capsys.readouterr().err
    assert outcome(out) == whole


@pytest.mark.parametrize("damage", [noise])
def test_the_pictures_of_a_finished_cell(
    damage: Damage, finished: Path, whole: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = damaged(finished, "cells/*/images-*/*", damage)
    assert grid.main([*COMMAND, "--out", str(finished)]) == 0
    assert str(file) in capsys.readouterr().err
    assert outcome(finished) == whole


@pytest.mark.parametrize("damage", [empty])
def test_a_submission_is_named_by_every_command(
    damage: Damage,
    killed: Callable[[int, str], Path],
    whole: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is unknown what may run for it: it is for the user to say that nothing does."""
    out = killed(1, "checkpoint-00000004")
    file = damaged(out, "submissions/*/submission.json", damage)
    for option in ((), ("--status",), ("--cancel",)):
        capsys.readouterr()
        assert grid.main([*COMMAND, *option, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {file} cannot be read")
        assert error.count("\n") == 1
    file.unlink()
    assert grid.main([*COMMAND, "--out", str(out)]) == 0
    assert outcome(out) == whole
