"""A copy of the code and of the plugins, so that editing them changes nothing of what is already submitted."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench import store
from bench.launch.submission import Submission
from samplers.errors import UserError

PACKAGES = ("analysis", "bench", "formulations", "samplers")
ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie."""


def take(out: Path, plugins: Sequence[Path]) -> tuple[str, tuple[str, ...]]:
    """Copy the packages and the plugins to ``DIR/code/DIGEST``, unless it is there already.

    Returns the digest of their content and the plugins' names in the copy. Raises :class:`UserError` for a plugin that
    cannot be read.
    """
    named = {f"{i}-{file.name}": file for i, file in enumerate(plugins)}
    code = digest([*files(ROOT), *((f"plugins/{name}", file) for name, file in named.items())])
    place = out / "code" / code
    if place.exists():
        check(place, code, named)
    else:
        store.folder(place.parent)
        temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix="."))
        try:
            for name, file in files(ROOT):
                copy(file, temporary / name)
            for name, file in named.items():
                copy(file, temporary / "plugins" / name)
            store.set_mode(temporary, out.stat().st_mode)
            for path in temporary.rglob("*"):
                readable = out.stat().st_mode & (0o777 if path.is_dir() else 0o666)
                path.chmod(readable)
            temporary.rename(place)
        except OSError as error:
            raise store.Unwritable(error.errno, error.strerror, str(place)) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return code, tuple(named)


def commit() -> str | None:
    """The commit that the packages are at, with ``-dirty`` if the checkout differs from it; None if they lie in none.

    A checkout around an installed copy, such as one with a virtual environment in it, is not theirs.
    """
    for words in (["ls-files", "--error-unmatch", "bench/__init__.py"], ["describe", "--always", "--dirty"]):
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        except OSError:  # no git
            return None
        if done.returncode:
            return None
    return done.stdout.strip()


def verify(submission: Submission) -> None:
    """Raises :class:`UserError` if the copy is no longer what was submitted."""
    check(submission.code_folder, submission.code, submission.plugins)


def check(place: Path, code: str, plugins: Iterable[str]) -> None:
    """Raises :class:`UserError` if the copy in ``place`` has another digest than ``code``."""
    if digest([*files(place), *((f"plugins/{name}", place / "plugins" / name) for name in plugins)]) != code:
        raise UserError(
            f"{place} has been changed since it was submitted: delete that folder, and run the command again"
        )


def digest(named: Iterable[tuple[str, Path]]) -> str:
    """12 hexadecimal digits of sha256 over names and contents of files."""
    found = hashlib.sha256()
    for name, file in named:
        found.update(f"{name}\0{hashlib.sha256(content(file)).hexdigest()}\n".encode())
    return found.hexdigest()[:12]


def copy(file: Path, place: Path) -> None:
    """Copy a file's content."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content(file))


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the packages below ``root``, by its name in the copy."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            name = file.relative_to(root)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            if file.is_file() and not hidden and file.suffix != ".pyc":
                yield name.as_posix(), file


def content(file: Path) -> bytes:
    """A file's bytes. Raises :class:`UserError` if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from None
