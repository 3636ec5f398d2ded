"""EDM2's latents: an uncompressed zip, or a folder, with an ``.npy`` of mean and deviation ``[2 C, h, w]`` for each image.

    00000/img-mean-std-00000000.npy    raw, not scaled: the posterior's mean, behind it its standard deviation
    dataset.json                       {"labels": [["00000/img-mean-std-00000000.npy", 17], ...]}

As ``dataset_tool.py encode`` of https://github.com/NVlabs/edm2 writes them (Karras et al. 2024, arXiv 2312.02696).
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.encoding.latent_source import (
    LARGEST_ITEM,
    LatentSource,
    ReadingOptions,
    damaged,
    refuse_unused,
)
from bench.data.sources.items import Unreadable, read_file
from bench.data.sources.listing import listing
from flowbench._core.errors import UserError

FORM, LABELS = "EDM2's latents", "dataset.json"
LARGEST_LABELS = 1 << 30
"""Most bytes of ``dataset.json``."""
UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, Unreadable, zipfile.BadZipFile, zlib.error)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class Zip:
    """Members of a zip; reading one compares it with its checksum."""

    path: Path

    @cached_property
    def file(self) -> zipfile.ZipFile:
        """The opened zip."""
        return zipfile.ZipFile(self.path)

    @cached_property
    def sizes(self) -> dict[str, list[int]]:
        """The declared size and the checksum of each member."""
        return {
            each.filename: [each.file_size, each.CRC] for each in self.file.infolist() if not each.is_dir()
        }

    def read(self, name: str, most: int) -> bytes:
        """A member of at most so many bytes, as it is declared to have."""
        if (size := self.sizes[name][0]) > most:
            raise Unreadable(f"it has {size:,} bytes, more than the {most:,} that are read")
        return self.file.read(name)


@dataclass(frozen=True)
class Folder:
    """Files below a folder."""

    path: Path

    @cached_property
    def files(self) -> dict[str, str]:
        """The path of each file by its relative name."""
        return listing(self.path).files

    @cached_property
    def sizes(self) -> dict[str, list[int]]:
        """The size of each file."""
        return {name: [Path(file).stat().st_size] for name, file in self.files.items()}

    def read(self, name: str, most: int) -> bytes:
        """A file of at most so many bytes."""
        return read_file(self.files[name], most=most)


def found(path: Path) -> bool:
    """Whether a path has this form."""
    if path.is_dir():
        return (path / LABELS).is_file() and not any(path.glob("*.safetensors"))
    return path.suffix.lower() == ".zip"


def read(path: Path, options: ReadingOptions, channels: int) -> LatentSource:
    """The latents of a zip or folder. Raises :class:`UserError` if it is damaged, or holds something else."""
    refuse_unused(FORM, options, ())
    files: Zip | Folder = Folder(path) if path.is_dir() else Zip(path)
    try:
        sizes = files.sizes
        names = sorted(name for name in sizes if name.endswith(".npy"))
        labels = dict(json.loads(files.read(LABELS, LARGEST_LABELS))["labels"] or ())
        if not names:
            raise ValueError("it has no .npy of a latent")
        first = parsed(files.read(names[0], LARGEST_ITEM))
    except KeyError as error:
        raise damaged(path, f"it has no {LABELS} with labels ({error})") from None
    except (*UNREADABLE, TypeError) as error:
        raise damaged(path, error) from None
    if len(first.shape) != 3 or first.shape[0] != 2 * channels or first.shape[1] != first.shape[2]:
        wanted = f"[{2 * channels}, h, h]: mean and deviation of {channels} channels, as the autoencoder's"
        raise UserError(f"--latents {path}: {names[0]} is {list(first.shape)}, not {wanted}")
    unlabelled = [name for name in names if not isinstance(labels.get(name), int)]
    if unlabelled:
        many = f"{len(unlabelled):,} of {len(names):,} latents"
        raise UserError(f"--latents {path}: {LABELS} has no class for {many}, among them {unlabelled[0]}")
    content = [sizes[name] for name in names]
    shape = channels, *first.shape[1:]
    values = reader(path, files.read, names, first.shape)
    return LatentSource(FORM, names, [labels[name] for name in names], shape, "mean+std", values, content)


def reader(
    path: Path, read: Callable[[str, int], bytes], names: list[str], shape: tuple[int, ...]
) -> Callable[[Iterable[int]], NDArray[Any]]:
    """Reads rows; raises :class:`UserError` that names the first that is damaged or of another shape."""
    most = 4096 + 8 * math.prod(shape)  # a header, and double precision at most

    def values(rows: Iterable[int]) -> NDArray[Any]:
        parts = list[NDArray[Any]]()
        for row in rows:
            try:
                parts.append(parsed(read(names[row], most)))
                if parts[-1].shape != shape:
                    raise ValueError(f"it is {list(parts[-1].shape)}, and the first is {list(shape)}")
            except UNREADABLE as error:
                raise damaged(path / names[row], error) from None
        return np.stack(parts)

    return values


def parsed(data: bytes) -> NDArray[Any]:
    """The array of an ``.npy``. Raises :class:`ValueError` for one of objects, or of another size than it declares."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = header(stream)
    if kind.hasobject or kind.kind not in "fiu":
        raise ValueError("it does not hold numbers")
    if len(data) - stream.tell() != math.prod(shape) * kind.itemsize:
        raise ValueError("it is cut short, or longer than it declares")
    flat = np.frombuffer(data, kind, offset=stream.tell())
    return flat.reshape(shape, order="F" if fortran else "C")
