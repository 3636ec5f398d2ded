"""Figures as files of a folder, whose bytes depend on the figure only."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from analysis.plots.style import Drawn, settle, styled
from flowbench._core import atomic
from flowbench._core.errors import UserError

DPI = 300
"""Of a PNG."""
FORMATS = ("png", "svg", "txt")
"""A picture, a drawing, and the caption."""


def write(drawn: Iterable[Drawn], folder: Path, formats: Sequence[str] = FORMATS) -> Iterator[Path]:
    """Write each figure as ``folder/NAME.FORMAT``, whole; yields the files as they are there.

    Raises `UserError` if the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for figure in drawn:
            for kind in dict.fromkeys(formats):
                file = folder / f"{figure.name}.{kind}"
                atomic.write_whole(file, partial(Path.write_bytes, data=render(figure, kind)))
                yield file
    except OSError as error:
        raise UserError(f"cannot write figures into {str(folder)!r}: {error.strerror or error}") from error


def render(drawn: Drawn, kind: str) -> bytes:
    """A figure as a file of one of `FORMATS`; the same figure gives the same bytes. The PNG has a white ground, the SVG
    none; it keeps its letters as paths, and its ids begin with the figure's name, so that several may stand in one page."""
    if kind == "txt":
        return f"{drawn.title}. {drawn.caption}\n".encode()
    file = io.BytesIO()
    with styled(**{"svg.hashsalt": drawn.name}):
        settle(drawn.figure)
        if kind == "png":
            about = {"Software": None, "Title": drawn.title, "Description": drawn.caption}
            drawn.figure.savefig(file, format="png", dpi=DPI, facecolor="white", metadata=about)
            return file.getvalue()
        empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawn.figure.savefig(file, format="svg", metadata=empty)
    return _compact(file.getvalue().decode(), drawn).encode()


def _compact(svg: str, drawn: Drawn) -> str:
    """An SVG without comments and empty metadata, with two decimals (1/7200 inch), own ids, a title and a description."""
    from html import escape

    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<!DOCTYPE.*?>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= )(d|x|y)="([^"]*)"', lambda m: f'{m[1]}="{_rounded(m[2])}"', svg)
    svg = re.sub(
        r' id="(?:text|line2d|patch|xtick|ytick|figure|axes|matplotlib\.axis|legend|[A-Z]\w+)_\d+"', "", svg
    )
    svg = re.sub(r'( id="|href="#|url\(#)', lambda m: f"{m[1]}{drawn.name}-", svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    about = f"<title>{escape(drawn.title)}</title>\n<desc>{escape(drawn.caption)}</desc>\n"
    return re.sub(r"(<svg[^>]*>\n)", lambda m: m[1] + about, svg, count=1)


def _rounded(value: str) -> str:
    return re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}".rstrip("0").rstrip("."), value)
