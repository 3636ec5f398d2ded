"""Disks that are full or cannot be written any more; the same command continues once they can."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import grid
from bench.runfolder import store

from ...disks import fill, mounted, read_only
from ...faults import Faults
from .commands import DRAWN, STEPS, command, ended, sentences
from .conftest import Ends, Whole
from .forks import outcome


def test_13_the_disk_is_full_while_checkpoints_and_weights_are_written(
    here: Path, forked: Ends, undisturbed: Whole, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training continues without checkpoints; the weights are what it stops at."""
    whole = undisturbed("my/held")
    with mounted(here / "disk", 24_000) as disk:
        out = disk / "run"
        (here / "script").write_text(f"cat /dev/zero > {disk}/filler; truncate --size=-80K {disk}/filler\n")
        assert grid.main(command(here, out, "my/held")) == 2
        said = capsys.readouterr().err
        (cell,) = (out / "cells").iterdir()
        for step in range(DRAWN + 1, STEPS):
            assert (
                f"no checkpoint at step {step}, the last one is of step {DRAWN} ({cell}/checkpoint-" in said
            )
        (sentence,) = sentences(said)
        assert sentence == f"error: {cell}/ema.safetensors: No space left on device"
        assert store.checkpoint_steps(cell) == [DRAWN, DRAWN - 1]
        assert not [p for p in cell.iterdir() if p.name.startswith(".")]
        (here / "script").unlink()
        (disk / "filler").unlink()
        assert grid.main(command(here, out, "my/held")) == 0
        assert f"continuing at step {DRAWN}" in capsys.readouterr().err
        assert outcome(out) == whole
    faults(13, "the disk is full while it trains", "`no checkpoint at step N, the last one is of step M (FILE: No space "
           "left on device)`, at the end `error: FILE: ...`", 0.0, None)  # fmt: skip


@pytest.mark.parametrize("leave", [0, 8_192, 49_152])
def test_13_the_disk_is_full_while_results_are_written(
    leave: int,
    here: Path,
    forked: Ends,
    gone: Callable[[Path], None],
    undisturbed: Whole,
    faults: Faults,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wherever it is full: at the plan, at the submission, at a lease, at images, at results, at tables."""
    whole = undisturbed("my/held")
    with mounted(here / "disk", 24_000) as disk:
        out = disk / "run"
        forked.append((1, "images-"))
        assert grid.main(command(here, out, "my/held")) == 1
        capsys.readouterr()
        fill(disk, leave)
        assert grid.main(command(here, out, "my/held")) in (1, 2)
        said = capsys.readouterr().err
        assert sentences(said), said
        assert all(
            "No space left on device" in s or s.endswith(" could not be written") for s in sentences(said)
        ), said
        assert "Traceback" not in said
        (disk / "filler").unlink()
        gone(out)
        assert grid.main(command(here, out, "my/held")) == 0
        assert outcome(out) == whole


@pytest.mark.long
def test_16_the_folder_becomes_read_only_in_mid_run(
    here: Path,
    held: Callable[[Path], subprocess.Popen[str]],
    forked: Ends,
    gone: Callable[[Path], None],
    undisturbed: Whole,
    faults: Faults,
) -> None:
    whole = undisturbed("my/held")
    out = here / "run"
    process = held(out)
    (cell,) = (out / "cells").iterdir()
    kept = store.checkpoint_steps(cell)
    with read_only(here / "run"):
        hit = time.monotonic()
        (here / "hold").unlink()
        code, said = ended(process)
        noticed = time.monotonic() - hit
        assert code in (1, 2)
        assert "Traceback" not in said
        assert sentences(said)[0].startswith(f"error: {out}")
        assert all(sentence.endswith(": Read-only file system") for sentence in sentences(said)), said
        assert store.checkpoint_steps(cell) == kept
        assert grid.main([*command(here, out, "my/held"), "--status"]) == 0
    assert grid.main(command(here, out, "my/held")) == 0
    assert outcome(out) == whole
    faults(16, "the run folder becomes read-only in mid run", "`error: FILE: Read-only file system`", noticed)
