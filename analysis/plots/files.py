"""Figures as files of a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from analysis.files import write_whole
from samplers.errors import UserError

from .style import FORMATS, Drawn, render


def write(drawn: Iterable[Drawn], folder: Path, formats: Sequence[str] = FORMATS) -> Iterator[Path]:
    """Write each figure as ``folder/NAME.FORMAT``, whole; yields the files as they are there.

    Raises `UserError` if the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            for kind in dict.fromkeys(formats):
                file = folder / f"{figure.name}.{kind}"
                write_whole(file, partial(Path.write_bytes, data=render(figure, kind)))
                yield file
    except OSError as error:
        raise UserError(f"cannot write figures into {str(folder)!r}: {error.strerror or error}") from error
