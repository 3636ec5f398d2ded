"""Cells that fail, clocks that jump, plugins that are edited, commands that are killed: the same command mends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import grid
from bench.runfolder import lease
from flowbench._core import atomic

from ...faults import Faults
from .commands import DRAWN, PLUGIN, command, ended, forget, sentences
from .conftest import Ends, Whole
from .forks import outcome


def test_15_a_cell_that_raises_one_that_diverges_and_one_that_runs_out_of_memory(
    here: Path, forked: Ends, undisturbed: Whole, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    """All in one pack, with one that has nothing: that one does not notice."""
    whole = undisturbed("my/held", "my/dies", "my/diverges")
    every = command(here, here / "run", "my/held", "my/raises", "my/dies", "my/diverges")
    hit = time.monotonic()
    assert grid.main(every) == 1
    took = time.monotonic() - hit
    printed = capsys.readouterr()
    for name, word in (
        ("raises", "ValueError: a bad day"),
        ("dies", "was killed by SIGKILL (out of memory?) 4 times"),
    ):
        assert f"my/{name} on shapes, seed 0: " in printed.err
        assert word in printed.err
    assert "my/held" in printed.out
    states = {}
    for file in (here / "run" / "cells").glob("*/status.json"):
        name = atomic.read_object(file.parent / "config.json")["cell"]["formulation"]
        states[name] = atomic.read_object(file)
    assert {name: status["state"] for name, status in states.items()} == {
        "my/held": "trained",
        "my/raises": "failed",
        "my/dies": "failed",
        "my/diverges": "diverged",
    }
    assert states["my/diverges"]["diverged_at_step"] == DRAWN + 3
    (here / "memory").touch()
    again = command(here, here / "run", "my/held", "my/dies", "my/diverges")
    assert grid.main([*again, "--retry", "failed"]) == 0
    found = outcome(here / "run")
    assert {name: found[name] for name in whole} == whole
    sees = "`failed: ... ValueError: a bad day`, `failed: ... was killed by SIGKILL (out of memory?) 4 times at this cell`"
    what = "of four cells in a pack one raises, one diverges, one is killed for its memory"
    faults(15, what, sees, note=f"the fourth is done; {took:.0f} s in all")


@pytest.mark.long
def test_17_clocks_jump(
    here: Path,
    held: Callable[[Path], subprocess.Popen[str]],
    forked: Ends,
    undisturbed: Whole,
    faults: Faults,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All files of a run at work look a day old, then as if from tomorrow: its worker is believed, and continues."""
    whole = undisturbed("my/held")
    out = here / "run"
    process = held(out)
    for seconds in (-86_400.0, 86_400.0):
        now = time.time() + seconds
        for file in out.rglob("*"):
            if file.is_file():
                os.utime(file, (now, now))
        capsys.readouterr()
        assert grid.main(command(here, out, "my/held")) == 0
        assert "nothing to submit: 1 running" in capsys.readouterr().err
    assert len(list((out / "submissions").iterdir())) == 1
    (here / "hold").unlink()
    code, said = ended(process)
    assert code == 0, said
    assert outcome(out) == whole
    assert grid.main(command(here, out, "my/held")) == 0
    assert "nothing to run: 1 done" in capsys.readouterr().err
    faults(17, "clocks jump a day", "nothing: its worker is not taken for gone, nor twice started")


def test_18_a_plugin_is_edited_between_interruption_and_going_on(
    here: Path, forked: Ends, undisturbed: Whole, faults: Faults, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = undisturbed("my/held")
    out, file = here / "run", here / "mine.py"
    forked.append((1, f"checkpoint-{DRAWN + 2:08}"))
    assert grid.main(command(here, out, "my/held")) == 1
    before = outcome(out)
    assert any(f"checkpoint-{DRAWN + 1:08}" in name for name in before)
    for edited, words in (
        (PLUGIN.replace("return 1 + at.t", "return 2 + at.t"), "'my/held' has changed since"),
        (PLUGIN + "# a remark\n", "the plugin of 'my/held' has changed since the training in"),
    ):
        file.write_text(edited)
        forget()
        capsys.readouterr()
        hit = time.monotonic()
        assert grid.main(command(here, out, "my/held")) == 2
        noticed = time.monotonic() - hit
        assert len(sentences(said := capsys.readouterr().err)) == 1
        assert words in said
        now = outcome(out)
        lost = {Path(name).name for name, content in before.items() if now.get(name) != content}
        assert lost <= {"lease.json"}
    file.write_text(PLUGIN)
    forget()
    assert grid.main(command(here, out, "my/held")) == 0
    assert f"continuing at step {DRAWN + 1}" in capsys.readouterr().err
    assert outcome(out) == whole
    sees = "`error: the plugin of NAME has changed since the training in DIR was interrupted: restore it, or ...`"
    faults(18, "a plugin is edited between interruption and going on", sees, noticed)


@pytest.mark.long
def test_the_command_is_killed_and_its_worker_saves(
    here: Path,
    held: Callable[[Path], subprocess.Popen[str]],
    forked: Ends,
    undisturbed: Whole,
    faults: Faults,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The worker notices at its next heartbeat that no command waits for it."""
    whole = undisturbed("my/held")
    out = here / "run"
    process = held(out)
    (file,) = out.glob("submissions/*/beat-0000.json")
    os.kill(process.pid, signal.SIGKILL)
    hit = time.monotonic()
    process.communicate()
    deadline = time.monotonic() + 60
    while lease.read(file)["clock"] < hit:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (here / "hold").unlink()
    while not lease.read(file).get("over"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    said = f"the command that started this worker is gone: stopped after step {DRAWN + 1}"
    while said not in file.with_name("share-0000.log").read_text():  # its last words
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert json.loads(file.with_name("share-0000.json").read_text())["state"] == "running"
    assert grid.main(command(here, out, "my/held")) == 0
    assert f"continuing at step {DRAWN + 1}" in capsys.readouterr().err
    assert outcome(out) == whole
    sees = "its log: the command that started this worker is gone: stopped after step N"
    faults(
        6,
        "the local command is killed, not its worker",
        sees,
        note=f"noticed within {lease.BEAT_SECONDS:g} s",
    )
