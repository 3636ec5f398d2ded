"""A copy of the code and of the plugins, so that edits change nothing that is already submitted."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.runfolder import shield
from bench.runfolder.submission import Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.plugin import changed

PACKAGES = ("analysis", "bench", "flowbench", "formulations", "samplers")
ROOT = Path(__file__).resolve().parents[2]
"""Where the packages lie."""


def take(out: Path, plugins: Sequence[Path], trusted: bool = False) -> tuple[str, tuple[str, ...]]:
    """Copy the packages and the plugins to ``DIR/code/DIGEST``, unless it is there already.

    Returns the digest of their content and the plugins' names in the copy. Raises :class:`UserError` for a plugin that
    cannot be read or was edited since this command loaded it, and for a copy that is there but does not match its name.
    """
    for file in plugins:
        if changed(file):
            raise UserError(f"{file} has changed since this command read it: run the command again")
    named = {f"{i}-{file.name}": file for i, file in enumerate(plugins)}
    every = [*files(ROOT), *((f"plugins/{name}", file) for name, file in named.items())]
    try:
        code = shield.digest((name, str(file)) for name, file in every)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror or error}") from None
    place = out / "code" / code
    if place.exists():
        check(out, code, trusted)
    else:
        copy(every, place)
    return code, tuple(named)


def copy(named: Iterable[tuple[str, Path]], place: Path) -> None:
    """Copy files to a new folder, which appears whole. Raises :class:`flowbench._core.atomic.Unwritable`."""
    atomic.folder(place.parent)
    temporary: Path | None = None
    try:
        temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=atomic.NEW))
        for name, file in named:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(file.read_bytes())
        mode = place.parent.stat().st_mode
        for path in temporary.rglob("*"):
            path.chmod(mode & (0o755 if path.is_dir() else 0o644))
        atomic.set_mode(temporary, mode)
        temporary.rename(place)
    except OSError as error:
        raise atomic.Unwritable(error.errno, error.strerror, str(place)) from error
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


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
    """Raises :class:`UserError` if the copy is no longer what was submitted, or another user could change it."""
    check(submission.out, submission.code, submission.execution.trusted)


def check(out: Path, code: str, trusted: bool) -> None:
    """Raises :class:`UserError` if the copy ``code`` does not match its name, or another user could change it."""
    if why := shield.refusal(str(out), code, trusted):
        raise UserError(why)


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file of the packages below ``root``, by its name in the copy."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*")):
            name = file.relative_to(root)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            if file.is_file() and not hidden and file.suffix != ".pyc":
                yield name.as_posix(), file
