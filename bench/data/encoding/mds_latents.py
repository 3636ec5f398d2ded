"""Latents in the columns of MDS, as floats or in 8 bits; among them the public ImageNet latents.

Latents of 8 bits are ``(v / 255 - 1/2) range``. The script of https://github.com/cloneofsimo/imagenet.int8 wrote them with a
range of 28, cut off at its ends and rounded down, and its README decodes with 24: the range is the user's, and its effect is
measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.encoding import mds
from bench.data.encoding.latent_source import (
    LatentSource,
    ReadingOptions,
    damaged,
    refuse_unused,
    square,
)
from bench.data.sources import classes
from bench.data.sources.items import captions_of
from flowbench._core.errors import UserError, nearest

FORM = "latents in MDS"
USUAL = {
    "latents": ("latents", "vae_output", "latents_256", "latent"),
    "caption": ("caption", "captions", "text"),
    "name": ("label_as_text", "class_name"),
    "label": ("label", "labels", "class"),
}
"""Usual names of columns by their use. Captions are made of the first of ``caption``, ``name`` (of a class) and ``label``
(its number) that is there."""
FLOATS = {"np16": np.float16, "float16": np.float16, "float32": np.float32}
Decode = Callable[[bytes], NDArray[Any]]


def found(path: Path) -> bool:
    """Whether a path has this form."""
    return path.is_dir() and (path / mds.INDEX).is_file()


def read(path: Path, options: ReadingOptions, channels: int) -> LatentSource:
    """The latents of a folder. Raises :class:`UserError` for a damaged one, columns that are not there, and a range that is
    absent, or not needed."""
    refuse_unused(FORM, options, ("columns", "range"))
    rows = mds.opened(path)
    latents, use, column = columns_of(path, options, rows.encodings)
    decode = decoder(path, latents, rows.encodings[latents], options.range, channels)

    def values(numbers: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        cells = rows.cells([int(number) for number in numbers], latents)
        try:
            return np.stack([decode(each) for each in cells])
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise damaged(path, f"a row of {latents!r} cannot be read ({error})") from None

    label = label_of(use, rows.encodings[column])
    try:
        labels = [label(each) for each in rows.cells(range(rows.starts[-1]), column)]
    except ValueError as error:
        raise damaged(path, f"a row of {column!r} cannot be read ({error})") from None
    shape: tuple[int, int, int] = values([0]).shape[1:]
    content = [shard.about for shard in rows.shards], options.range, latents
    half = options.range / 2 if options.range else None
    return LatentSource(FORM, rows.names(), labels, shape, "sample", values, content, half_range=half)


def columns_of(path: Path, options: ReadingOptions, encodings: dict[str, str]) -> tuple[str, str, str]:
    """The column of latents, what captions are made of, and the column of that."""
    for use, name in options.columns.items():
        if use not in USUAL:
            raise UserError(f"--columns {use}={name}: a column is not used as {use!r}; {nearest(use, USUAL)}")
        if name not in encodings:
            raise UserError(f"--columns {use}={name}: {path} has no such column; {nearest(name, encodings)}")
    given = [use for use in options.columns if use != "latents"]
    if len(given) > 1:
        raise UserError(f"--columns: captions are made of one column, give one of {', '.join(given)}")
    there = {use: next((each for each in names if each in encodings), None) for use, names in USUAL.items()}
    chosen = {**there, **options.columns}
    source = next((use for use in given or ("caption", "name", "label") if chosen[use]), None)
    if source is None or chosen["latents"] is None:
        lacks, example = ("captions", "caption=NAME") if chosen["latents"] else ("latents", "latents=NAME")
        raise UserError(
            f"--latents {path}: which column has the {lacks} is unknown, give --columns {example} "
            f"of {', '.join(encodings)}"
        )
    return str(chosen["latents"]), source, str(chosen[source])


def decoder(path: Path, column: str, encoding: str, width: float | None, channels: int) -> Decode:
    """From the bytes of a latent to ``[C, h, h]``, in 8 bits over a range of that ``width``."""
    kind, _, static = encoding.partition(":")
    typed = static.partition(":")[0] if kind == "ndarray" else kind.replace("bytes", "")
    eight = typed == "uint8" or (not typed and width is not None)
    if eight and width is None:
        raise UserError(
            f"--latents {path}: {column!r} has 8 bits, give --range R, the difference between the values of 255 and 0: the "
            f"public ImageNet latents were written with 28, and their README decodes with 24"
        )
    if width is not None and not eight:
        raise UserError(f"--range does not apply to {path}: {column!r} is {encoding}, not of 8 bits")
    if kind not in (*FLOATS, "uint8", "bytes", "ndarray"):
        known = "uint8, float16, float32, their bytes and ndarray"
        raise UserError(f"--latents {path}: {column!r} is {encoding}, and read are {known}")

    def decode(data: bytes) -> NDArray[Any]:
        if kind == "ndarray":
            flat = mds.ndarray(data, static)
        elif kind == "bytes" and not eight:
            flat = floats(data, channels)
        else:
            flat = np.frombuffer(data, np.uint8 if eight else FLOATS[kind])
        if (flat.dtype == np.uint8) is not eight:
            raise ValueError(f"it is {flat.dtype}, and --range belongs to 8 bits")
        whole = square(flat, channels)
        return whole if width is None else (whole / np.float32(255) - np.float32(0.5)) * np.float32(width)

    return decode


def floats(data: bytes, channels: int) -> NDArray[Any]:
    """Bytes as floats of 16 or 32 bits: of a square latent only one of them is possible, since 2 is no square number."""
    single = len(data) % (4 * channels) == 0 and (len(data) // (4 * channels)) ** 0.5 % 1 == 0
    return np.frombuffer(data, np.float32 if single else np.float16)


def label_of(use: str, encoding: str) -> Callable[[bytes], int | tuple[str, ...]]:
    """From the bytes of a column to captions, of a class one for each of its names, or to the number of a class. The result
    raises :class:`ValueError` for bytes that are none."""

    def number(data: bytes) -> int:
        if encoding in ("str", "str_int"):
            return int(data)
        return int.from_bytes(data, "little", signed=encoding.startswith("int"))

    def captions(data: bytes) -> tuple[str, ...]:
        names = (data.decode(),) if use == "caption" else classes.split_names(data.decode())
        found, problem = captions_of([name if use == "caption" else classes.caption(name) for name in names])
        if not found:
            raise ValueError(problem)
        return found

    return number if use == "label" else captions
