"""Files that appear whole: written to a temporary file, synced, renamed. Tensors carry the sha256 of their content."""

from __future__ import annotations

import errno
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
from typing import Any, BinaryIO, Literal

from flowbench._core.errors import UserError

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
        """Convert another system error; ``unnamed`` is the file where the error names none."""
        return cls(error.errno, error.strerror or str(error), error.filename or str(unnamed))


def write_whole(path: Path, write: Callable[[Path], object], sync: bool = True) -> None:
    """Let ``write`` fill a temporary file in the folder of ``path``, ``sync`` it, and rename it into place.

    The file is as readable as its folder, and writable by its owner only. Raises :class:`Unwritable`; the old file
    then stays.
    """
    try:
        with suppress(FileNotFoundError):  # swept away by a command that began on this folder: once more
            return _write_whole(path, write, sync)
        _write_whole(path, write, sync)
    except OSError as error:
        raise Unwritable(error.errno, error.strerror or str(error), str(path)) from error


def _write_whole(path: Path, write: Callable[[Path], object], sync: bool) -> None:
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
    finally:
        if temporary:
            with suppress(OSError):  # read-only by now
                temporary.unlink(missing_ok=True)


def folder(path: Path) -> None:
    """Make a folder and its parents, each as readable as the one above."""
    if path.is_dir():
        return
    folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    set_mode(path, path.parent.stat().st_mode)


def set_mode(path: Path, mode: int) -> None:
    """Make a folder readable as in ``mode`` and writable by its owner only, whatever the umask; the setgid bit stays."""
    path.chmod(mode & 0o755 | path.stat().st_mode & stat.S_ISGID)


def sweep(folder: Path, age: float = 0.0) -> None:
    """Delete temporary files of killed writers in a folder and its subfolders.

    Where others may be writing, only files unchanged for ``age`` seconds.
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
    """Open a log for appending whole lines, as readable as its folder. A link is refused."""

    def opener(name: str, flags: int) -> int:
        handle = os.open(
            name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600
        )  # a pipe is an error, and no wait
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, path.parent.stat().st_mode & 0o644)
        return handle

    return open(path, "ab", buffering=0, opener=opener)


def mark(path: Path) -> None:
    """Make an empty file, whose name is all its content."""
    append(path).close()


def write_json(path: Path, value: Any, sync: bool = True) -> None:
    """Write JSON whole, sorted and indented; NaN is an error, not a token."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", sync)


def write_text(path: Path, text: str, sync: bool = True) -> None:
    """Write text whole, in UTF-8."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_whole(path, write, sync)


CURE = ": delete that file and run the command again"
"""What helps against a damaged file."""


def read_json(path: Path, cure: str = CURE) -> Any:
    """Read JSON. Raises :class:`Damaged` naming the file, and the ``cure``, if it is cut short or foreign."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise Damaged(f"{path} cannot be read ({error}){cure}") from None


def read_object(path: Path, cure: str = CURE) -> dict[str, Any]:
    """Read a JSON object. Raises :class:`Damaged` naming the file, and the ``cure``, if it holds something else."""
    value = read_json(path, cure)
    if not isinstance(value, dict):
        raise Damaged(f"{path} cannot be read (it holds no object){cure}")
    return value


def known_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; empty if the file is missing or damaged."""
    try:
        return read_object(path)
    except Damaged:
        return {}


def write_tensors(path: Path, tensors: Mapping[str, Any], about: Mapping[str, Any] | None = None) -> None:
    """Write tensors whole as safetensors, with their digest and the JSON metadata ``about`` them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    kept = {name: tensor.contiguous() for name, tensor in tensors.items()}
    header = json.dumps({**(about or {}), "sha256": digest(kept, about or {})}, allow_nan=False)

    def write(temporary: Path) -> None:
        try:
            save_file(kept, temporary, metadata={"about": header})
        except SafetensorError as error:  # a full disk among others: the system's error is in its text only
            number = re.search(r"os error (\d+)", str(error))
            code = int(number[1]) if number else errno.EIO
            raise OSError(code, os.strerror(code)) from error

    write_whole(path, write)


def read_tensors(
    path: Path, framework: Literal["pt", "numpy"] = "pt"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read safetensors on the CPU, and their metadata. Raises :class:`Damaged` naming the file."""
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
    """Read the metadata of a file of tensors without the tensors. Raises :class:`Damaged` naming the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise Damaged(f"{path} cannot be read ({error})") from None
    return about


def digest(tensors: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """sha256 over metadata of tensors, and over their names, shapes, types and bytes on the CPU; or of arrays."""
    import numpy as np

    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        found.update(f"{name} {array.shape} {array.dtype}\n".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()
