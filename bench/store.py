"""Files that appear whole, and the folder of a run: the only place where the state of an experiment lives.

    DIR/grid.json                     the resolved configuration and the commands that were given
    DIR/cells/ID/config.json          everything that went into the cell, checked before it is reused
    DIR/cells/ID/status.json          done, diverged or failed, and why
    DIR/cells/ID/metrics.jsonl        one line a validation, while it trains
    DIR/cells/ID/{ema,raw}.safetensors
    DIR/cells/ID/EVAL/...             images and measurements under the hash of the evaluation recipe
    DIR/yardsticks/RECIPE.json        the same measurements of real images
    DIR/.lock                         held by the run that is writing
    DIR/results.parquet, ranking.csv, samples.png, yardsticks.json

Each file has one writer, and is written beside its place, synced, and renamed.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from samplers.errors import UserError

WEIGHTS = ("ema.safetensors", "raw.safetensors")
"""What training leaves of a cell."""
MEASURED = ("result.json", "images.safetensors", "per_sample.safetensors")
"""What an evaluation leaves of a cell, in its folder."""


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole, sorted and indented; NaN is an error, not a token."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text whole, in UTF-8."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write)


def read_json(path: Path) -> Any:
    """Read JSON. Raises :class:`UserError` naming the file if it is cut short or foreign."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete that file and run the command again"
        ) from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`UserError` naming the file if it holds something else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise UserError(
            f"{path} cannot be read (it holds no object): delete that file and run the command again"
        )
    return value


def write_tensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors whole as safetensors."""
    from safetensors.torch import save_file

    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda p: save_file(kept, p, metadata=dict(metadata or {})))


def read_tensors(path: Path) -> dict[str, Any]:
    """Read safetensors on the CPU. Raises :class:`UserError` naming the file if it is cut short or foreign."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Any] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete that file and run the command again"
        ) from None
    return tensors


def lock(folder: Path) -> TextIO:
    """Hold a run folder alone until the returned file is closed. Raises :class:`UserError` if another run has it."""
    file = (folder / ".lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(
            f"--out {folder} is in use by another run: wait for it, or name another folder"
        ) from None
    return file


def prepare(folder: Path) -> None:
    """Make the run folder. Raises :class:`UserError` if it is no folder or cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror or error}") from None
