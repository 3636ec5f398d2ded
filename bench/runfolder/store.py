"""Files that appear whole, and the folder of a run: the only place where the state of an experiment lives.

    DIR/grid.json                     the plan of the last command: configuration, recipes, cells (:mod:`planning.manifest`)
    DIR/confirm.json                  the same of its confirmation on fresh seeds (:mod:`bench.driver.confirm`)
    DIR/config.toml                   the experiment of the last command as options (:mod:`bench.cli.config_file`)
    DIR/cells/ID/config.json          everything that went into the cell, checked before it is reused
    DIR/cells/ID/status.json          trained, diverged or failed, and why
    DIR/cells/ID/metrics.jsonl        one line a validation, while it trains
    DIR/cells/ID/log.txt              what happened to the cell, and when
    DIR/cells/ID/lease.json           which worker is at it now
    DIR/cells/ID/checkpoint-STEP.safetensors   while it trains: two generations
    DIR/cells/ID/{ema,raw}.safetensors
    DIR/cells/ID/images-SAMPLING/     images and path lengths by the hash of how they are sampled, a file a control setting
    DIR/cells/ID/EVAL/                measurements under the hash of the evaluation recipe
    DIR/yardsticks/RECIPE/            the same measurements of real images, a file for each dataset
    DIR/submissions/ID/               what was handed to workers (:mod:`bench.runfolder.submission`)
    DIR/code/DIGEST/                  the code that they run
    DIR/.lock                         held by a command while it plans and submits
    DIR/results.parquet, ranking.csv, samples.png, yardsticks.json, timings.json

Each file has one writer, and is written beside its place, synced, and renamed; ``results.parquet`` is made from the cells by
whoever reads the folder (:mod:`analysis.results.collect`). Files of tensors carry the sha256 of their content.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

from bench.config.experiment import restore
from flowbench._core.errors import UserError

T = TypeVar("T")

WEIGHTS = ("ema.safetensors", "raw.safetensors")
"""What training leaves of a cell."""
MEASURED = ("result.json", "per_sample.safetensors")
"""What an evaluation leaves of a cell, in its folder."""

NEW = ".new-"
"""How the name of a file or folder begins that is not complete yet."""
LEFT = re.compile(re.escape(NEW) + r".+|\.tmp\w{6}")
"""Names of such, if their writer was killed; the second are those that safetensors writes to."""


class Damaged(UserError):
    """A file of ours that is cut short, filled with noise, or foreign."""


class Unwritable(OSError):
    """A file that cannot be written: the disk is full, the folder read-only, the quota used up."""

    @classmethod
    def of(cls, error: OSError, unnamed: Path | str) -> Unwritable:
        """Any other error of the system's; ``unnamed`` is told where it names no file."""
        return cls(error.errno, error.strerror or str(error), error.filename or str(unnamed))


def write_whole(path: Path, write: Callable[[Path], None], sync: bool = True) -> None:
    """Let ``write`` fill a temporary file beside ``path``, ``sync`` it, and rename it into place.

    Whoever can read the folder can read the file; only its owner can write it. Raises :class:`Unwritable`; the old file
    then stays.
    """
    temporary: Path | None = None
    try:
        folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{NEW}{path.name}.", suffix=path.suffix)
        temporary = Path(name)
        os.close(handle)
        write(temporary)
        temporary.chmod(path.parent.stat().st_mode & 0o644)  # now: safetensors makes a file of its own
        if sync:
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise Unwritable(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        if temporary:
            with suppress(OSError):  # read-only by now
                temporary.unlink(missing_ok=True)


def folder(path: Path) -> None:
    """Make a folder and those above it, each readable by whoever can read the one above."""
    if path.is_dir():
        return
    folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    set_mode(path, path.parent.stat().st_mode)


def set_mode(path: Path, mode: int) -> None:
    """Let a folder be read as ``mode`` says, and written by its owner only, whatever the umask; a group that its files
    inherit stays."""
    path.chmod(mode & 0o755 | path.stat().st_mode & stat.S_ISGID)


def sweep(folder: Path, age: float = 0.0) -> None:
    """Delete what writers that were killed have left beside their files in a folder and those below.

    Where others may be writing, only what nobody has touched for ``age`` seconds.
    """
    before = time.time() - age
    for above, folders, files in os.walk(folder):
        left = [name for name in (*folders, *files) if LEFT.fullmatch(name)]
        folders[:] = [name for name in folders if name not in left]
        for path in (Path(above, name) for name in left):
            with suppress(OSError):
                if age and path.lstat().st_mtime > before:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()


def append(path: Path) -> BinaryIO:
    """A log, opened for whole lines at its end; read by whoever can read its folder. Never the target of a link."""

    def opener(name: str, flags: int) -> int:
        handle = os.open(
            name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
        )  # a pipe is an error, and no wait
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, path.parent.stat().st_mode & 0o644)
        return handle

    return open(path, "ab", buffering=0, opener=opener)


def mark(path: Path) -> None:
    """Make an empty file, whose name is all that it tells."""
    append(path).close()


def write_json(path: Path, value: Any, sync: bool = True) -> None:
    """Write JSON whole, sorted and indented; NaN is an error, not a token."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", sync)


def write_text(path: Path, text: str, sync: bool = True) -> None:
    """Write text whole, in UTF-8."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write, sync)


def read_json(path: Path) -> Any:
    """Read JSON. Raises :class:`Damaged` naming the file if it is cut short or foreign."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise Damaged(
            f"{path} cannot be read ({error}): delete that file and run the command again"
        ) from None


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`Damaged` naming the file if it holds something else."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise Damaged(
            f"{path} cannot be read (it holds no object): delete that file and run the command again"
        )
    return value


def read_config(path: Path, part: str, kind: type[T]) -> T:
    """Read the configuration that a JSON object of a run folder keeps as a part. Raises :class:`Damaged`."""
    try:
        return restore(kind, read_object(path)[part])
    except (KeyError, TypeError, AttributeError):
        raise Damaged(
            f"{path} cannot be read (it holds no {part} of this version): the command that made the run writes it again"
        ) from None


def write_tensors(path: Path, tensors: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """Write tensors whole as safetensors, with their digest and whatever JSON tells ``about`` them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    told = json.dumps({**(about or {}), "sha256": digest(kept, about or {})}, allow_nan=False)

    def write(temporary: Path) -> None:
        try:
            save_file(kept, temporary, metadata={"about": told})
        except (
            SafetensorError
        ) as error:  # a full disk among others: it tells the system's error in words only
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code)) from error

    write_whole(path, write)


def read_tensors(
    path: Path, framework: Literal["pt", "numpy"] = "pt"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read safetensors on the CPU, and what was told about them. Raises :class:`Damaged` naming the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get("about", "{}"))
            tensors: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise Damaged(
            f"{path} cannot be read ({error}): delete that file and run the command again"
        ) from None
    if about.pop("sha256", None) != digest(tensors, about):
        raise Damaged(
            f"{path} cannot be read (its content is not what was written): delete that file and run the command again"
        )
    return tensors, about


def read_about(path: Path) -> dict[str, Any]:
    """What was told about a file of tensors, without reading them. Raises :class:`Damaged` naming the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read ({error})") from None
    return about


def images_file(folder: Path, sampling: str, setting: str) -> Path:
    """The images of a cell for a control setting."""
    return folder / f"images-{sampling}" / f"{setting}.safetensors"


def checkpoint_file(folder: Path, step: int) -> Path:
    """The checkpoint of a cell at a step."""
    return folder / f"checkpoint-{step:08}.safetensors"


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of which a cell has checkpoints, the newest first."""
    found = (re.fullmatch(r"checkpoint-(\d+)\.safetensors", p.name) for p in folder.glob("checkpoint-*"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def digest(tensors: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """sha256 over what is told about tensors, and over their names, shapes, types and bytes on the CPU; or of arrays."""
    import numpy as np

    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        found.update(f"{name} {array.shape} {array.dtype}\n".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


LOCK_SECONDS = 60.0
"""How long a command waits for another one that plans and submits on the same folder."""


def lock(folder: Path, patience: float = LOCK_SECONDS) -> BinaryIO:
    """Hold a run folder alone until the returned file is closed. Raises :class:`UserError` if another command keeps it."""
    try:
        file = append(folder / ".lock")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UserError(
            f"{folder / '.lock'} is a symbolic link, which flowbench does not make: delete it"
        ) from None
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                file.close()
                raise UserError(
                    f"--out {folder}: its file system has no locks ({error.strerror}): mount it with them "
                    f"(Lustre: -o flock), or name a folder elsewhere"
                ) from None
            if time.monotonic() > until:
                file.close()
                raise UserError(
                    f"--out {folder} is in use by another command that plans or submits: try again, or name another folder"
                ) from None
            time.sleep(0.05)


def prepare(folder: Path, mode: int) -> None:
    """Make the run folder with a mode, if it is not there. Raises :class:`UserError` if it cannot be written."""
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)  # another command may begin in this moment
            set_mode(folder, mode)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror or error}") from None
