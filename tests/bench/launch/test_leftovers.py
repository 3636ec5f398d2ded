"""Whatever kills a command or a worker: after the next command the run folder holds what it should, and no more."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench import grid
from bench.runfolder import cell_folder
from flowbench._core import atomic

from .conftest import Ends
from .forks import outcome

COMMAND = [
    "--preset", "smoke", "--formulations", "rf/lognorm(0,1)", "eps/linear", "--train-images", "32", "--datasets", "shapes",
    "--validation-images", "16", "--steps", "4", "--batch", "8", "--validations", "2", "--validation-batch", "16",
    "--settings", "2:1", "--weights", "ema", "--samples", "4", "--device", "cpu", "--compile", "off", "--pack", "2",
    "--checkpoint", "1e-9",
]  # fmt: skip
STAGES = (
    "metrics.jsonl", "checkpoint-", "ema.safetensors", "status.json", "images-", "per_sample", "result.json", "lease.json",
)  # fmt: skip
"""Files that are written while a worker trains, checkpoints, stores, generates and measures."""


def everything(out: Path) -> dict[str, Any]:
    """Every file of a run folder by its name, with what it holds but times; of submissions only which files they have."""
    found = outcome(out)
    for file in sorted(path for path in out.rglob("*") if path.is_file()):
        name = file.relative_to(out).as_posix()
        place = name.partition("/")[0]
        if place == "submissions":
            if file.name != "closed":
                found["submissions/" + "/".join(file.relative_to(out).parts[2:])] = "there"
        elif name == "results.parquet":
            table = pd.read_parquet(file)
            found[name] = table[[column for column in table if "seconds" not in column]].to_csv(index=False)
        elif name == "grid.json":
            found[name] = atomic.read_object(file) | {"command": None}
        elif file.name in ("timings.json", "log.txt"):
            found[name] = "there"
        elif place != "cells":
            found[name] = file.read_bytes()
    return found


@pytest.fixture
def whole(forked: Ends, tmp_path: Path) -> dict[str, Any]:
    assert grid.main([*COMMAND, "--out", str(tmp_path / "undisturbed")]) == 0
    return everything(tmp_path / "undisturbed")


def kills(seed: int, count: int, out: Path, forked: Ends) -> int:
    """Commands one after the other, whose workers are killed somewhere; returns how many were."""
    rng, killed = random.Random(seed), 0
    for _ in range(count):
        forked.append((rng.choice((1, -1)) * rng.randint(1, 4), rng.choice(STAGES)))
        killed += grid.main([*COMMAND, "--out", str(out)])
        forked.clear()
    return killed


def test_nothing_is_left_after_kills(forked: Ends, whole: dict[str, Any], tmp_path: Path) -> None:
    assert kills(0, 3, tmp_path / "run", forked) == 3
    assert grid.main([*COMMAND, "--out", str(tmp_path / "run")]) == 0
    assert everything(tmp_path / "run") == whole


@pytest.mark.long
def test_nothing_is_left_after_many_kills(forked: Ends, whole: dict[str, Any], tmp_path: Path) -> None:
    total = seed = 0
    while total < 20:
        seed += 1
        assert seed < 20, total
        out = tmp_path / f"run-{seed}"
        total += kills(seed, 4, out, forked)
        assert grid.main([*COMMAND, "--out", str(out)]) == 0
        assert everything(out) == whole, seed


def test_a_writer_that_is_killed_in_the_middle_is_swept_away(tmp_path: Path) -> None:
    """Also what safetensors leaves, which writes to a file of its own."""
    script = f"""if True:
        import resource, signal, torch
        from pathlib import Path
        from flowbench._core import atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
        atomic.write_tensors(Path({str(tmp_path)!r}) / "x.safetensors", {{"x": torch.zeros(100_000)}})
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGXFSZ
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left
    assert "x.safetensors" not in left
    assert any(name.startswith(".tmp") for name in left), left
    atomic.sweep(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_swept_from_a_run_folder_and_what_is_not(tmp_path: Path) -> None:
    cells, error = tmp_path / "cells", {"kind": "E", "message": "m", "cause": "c"}
    swept = [
        "code/.new-abc/bench/__init__.py", ".new-results.parquet.abc", "submissions/1/.new-beat-0000.json.abc.json",
        "submissions/2/failures/x", "cells/done/.tmpAbC123", "cells/done/lease.json", "cells/done/error.txt",
        "cells/done/images-1/.tmp012345", "cells/diverged/checkpoint-00000004.safetensors",
    ]  # fmt: skip
    kept = [
        ".gitignore", ".lock", ".tmp", "submissions/1/submission.json", "cells/failed/error.txt", "code/1/bench/.new.py",
        "cells/failed/checkpoint-00000004.safetensors", "cells/begun/lease.json", "cells/done/ema.safetensors",
    ]  # fmt: skip
    for name in (*swept, *kept):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    atomic.write_json(cells / "done" / "status.json", {"state": "trained"})
    atomic.write_json(cells / "diverged" / "status.json", {"state": "diverged"})
    atomic.write_json(cells / "failed" / "status.json", {"state": "failed", "error": error})
    cell_folder.sweep(tmp_path)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*kept, *(f"cells/{name}/status.json" for name in ("done", "diverged", "failed"))}
    assert not (tmp_path / "submissions" / "2").exists()


def test_where_others_may_be_writing_only_old_files_are_swept(tmp_path: Path) -> None:
    for name in (".new-old", ".new-young"):
        (tmp_path / name).touch()
    os.utime(tmp_path / ".new-old", (0, 0))
    atomic.sweep(tmp_path, age=60)
    assert [path.name for path in tmp_path.iterdir()] == [".new-young"]
