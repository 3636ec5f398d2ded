"""Whatever kills a command or a worker: after the next command the run folder holds what it should, and no more."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

from bench import store, sweep


def test_a_writer_that_is_killed_in_the_middle_is_swept_away(tmp_path: Path) -> None:
    """Also what safetensors leaves, which writes to a file of its own."""
    script = f"""if True:
        import resource, signal, torch
        from pathlib import Path
        from bench import store
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, {resource.getrlimit(resource.RLIMIT_FSIZE)[1]}))
        store.write_tensors(Path({str(tmp_path)!r}) / "x.safetensors", {{"x": torch.zeros(100_000)}})
    """
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == -signal.SIGXFSZ
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left
    assert "x.safetensors" not in left
    assert any(name.startswith(".tmp") for name in left), left
    store.sweep(tmp_path)
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
    store.write_json(cells / "done" / "status.json", {"state": "trained"})
    store.write_json(cells / "diverged" / "status.json", {"state": "diverged"})
    store.write_json(cells / "failed" / "status.json", {"state": "failed", "error": error})
    sweep.sweep(tmp_path)
    there = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert there == {*kept, *(f"cells/{name}/status.json" for name in ("done", "diverged", "failed"))}
    assert not (tmp_path / "submissions" / "2").exists()
