"""A folder of latents, as ``python -m bench.encode`` writes it: shards of safetensors, and an index that makes them count.

    DIR/encoded.json                    what was encoded by what, the shards with their hashes, statistics
    DIR/train-00000.safetensors         ``values [n, c, h, w]`` float16, rows in a fixed order; where distributions are kept,
                                        these are means, with ``deviations`` of the same shape
    DIR/validation-00000.safetensors    ``values``, with the images as uint8 ``reference [n, 3, R, R]``
    DIR/captions.parquet, rows.parquet  the captions (:mod:`bench.data.row_captions`)

A shard holds :data:`ROWS` rows, however many processes wrote the folder. Reading maps the shards into memory, so that no
side has to fit there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.data.channel_moments import ChannelMoments
from bench.data.mapped_tensors import header_end, layout, mapped
from flowbench._core import atomic
from flowbench._core.errors import UserError

Side = Literal["train", "validation"]
SIDES: tuple[Side, ...] = ("train", "validation")
INDEX = "encoded.json"
FORMAT = 1
ROWS = 4096
"""Rows of a shard; the last of a side has fewer."""
Posterior = Literal["mean", "sample", "mean+std"]


@dataclass(frozen=True)
class EncodingRecipe:
    """All that decides the values in a folder.

    Attributes:
        source: the dataset spec, without the path of this machine; ``data`` the digest of its images and captions.
        autoencoder: its name with a digest; ``place`` is where it lay, for decoding, and no part of the identity.
        posterior: ``mean``; ``sample``: drawn once, by a seed of the row's number; or ``mean+std``: drawn at each step of
            training, while the held-out side has means.
        shape: channels, height and width of a latent.
        reference: the held-out images: the originals, or ``decoded`` latents where others have encoded them.
    """

    source: str
    data: str
    resolution: int
    train: int
    validation: int
    autoencoder: str
    posterior: Posterior
    shape: tuple[int, int, int]
    place: str = field(compare=False)
    reference: Literal["images", "decoded"] = "images"

    @property
    def bytes(self) -> int:
        """What the tensors of all shards take."""
        latent, image = 2 * math.prod(self.shape), 3 * self.resolution**2
        return self.train * latent * (1 + (self.posterior == "mean+std")) + self.validation * (latent + image)

    @property
    def digest(self) -> str:
        """Names the recipe; a shard of another one is written anew."""
        left = {"place", *(["reference"] if self.reference == "images" else [])}
        kept = {name: value for name, value in asdict(self).items() if name not in left}
        return hashlib.sha256(json.dumps([FORMAT, kept], sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
    """A file of rows, with the sha256 of its content as :func:`flowbench._core.atomic.write_tensors` computes it."""

    file: str
    rows: int
    sha256: str


def shard_name(side: Side, number: int) -> str:
    """The file of a shard."""
    return f"{side}-{number:05d}.safetensors"


def write_shard(
    folder: Path,
    side: Side,
    number: int,
    recipe: EncodingRecipe,
    tensors: Mapping[str, Any],
    moments: ChannelMoments,
) -> None:
    """Write a shard whole, with its recipe and the sums of its values."""
    about = {"recipe": recipe.digest, "moments": asdict(moments)}
    atomic.write_tensors(folder / shard_name(side, number), tensors, about)


def finished(
    folder: Path, side: Side, number: int, recipe: EncodingRecipe, rows: int
) -> tuple[Shard, ChannelMoments] | None:
    """A shard of that recipe that is whole by its header, and its sums; None if it has to be written."""
    file = folder / shard_name(side, number)
    try:
        about = atomic.read_about(file)
        header, start = layout(file)
    except (atomic.Damaged, OSError, ValueError):
        return None
    if about.get("recipe") != recipe.digest:
        return None
    if header["values"]["shape"][0] != rows or file.stat().st_size != start + header_end(header):
        return None
    return Shard(file.name, rows, about["sha256"]), ChannelMoments(**_tuples(about["moments"]))


def _tuples(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


@dataclass(frozen=True)
class ShardedRows:
    """One tensor over the shards of a side, mapped into memory: rows ``[N, ...]`` read when they are asked for."""

    folder: Path
    files: tuple[str, ...]
    name: str

    @cached_property
    def parts(self) -> list[NDArray[Any]]:
        """The tensor of each shard."""
        return [mapped(self.folder / file)[self.name] for file in self.files]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows."""
        return (sum(len(part) for part in self.parts), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        rows = np.asarray(rows)
        found = np.empty((len(rows), *self.shape[1:]), self.parts[0].dtype)
        for number in np.unique(rows // ROWS):
            here = rows // ROWS == number
            found[here] = self.parts[int(number)][rows[here] % ROWS]
        return found


@dataclass(frozen=True)
class Index:
    """``encoded.json``: the recipe, the shards of both sides, the sums over training values, the licences of ``data`` and
    ``autoencoder``, as far as they are known, and ``tables``, the sha256 of each file of captions; empty in folders that
    were written without."""

    recipe: EncodingRecipe
    shards: dict[Side, tuple[Shard, ...]]
    moments: ChannelMoments
    licences: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Names the content."""
        parts = [self.recipe.digest, *(shard.sha256 for side in SIDES for shard in self.shards[side])]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:8]

    def write(self, folder: Path) -> None:
        """Write it, with the statistics in words for its reader."""
        means, deviations = self.moments.channels
        mean, deviation = self.moments.whole
        statistics = {
            "channels": {"mean": means, "std": deviations},
            "applied": {"mean": mean, "std": deviation},
        }
        shards = {side: [asdict(shard) for shard in self.shards[side]] for side in SIDES}
        kept = {"format": FORMAT, "recipe": asdict(self.recipe), "shards": shards}
        kept |= {"licences": self.licences, "tables": self.tables}
        atomic.write_json(folder / INDEX, {**kept, "moments": asdict(self.moments), "statistics": statistics})


def read_index(folder: Path) -> Index:
    """The index of a folder. Raises :class:`UserError` if it has none, or one of another version."""
    file = folder / INDEX
    if not file.is_file():
        raise UserError(
            f"encoded:{folder}: there is no {INDEX}: `python -m bench.encode` writes it when all is encoded"
        )
    kept = atomic.read_object(file)
    try:
        if kept["format"] != FORMAT:
            raise UserError(
                f"{file} has format {kept['format']}, and this version reads {FORMAT}: delete it and encode again"
            )
        shards = {side: tuple(Shard(**shard) for shard in kept["shards"][side]) for side in SIDES}
        return Index(
            EncodingRecipe(**_tuples(kept["recipe"])),
            shards,
            ChannelMoments(**_tuples(kept["moments"])),
            kept.get("licences", {}),
            kept.get("tables", {}),
        )
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged ({type(error).__name__}: {error}): delete it and encode again"
        ) from None


def check_headers(folder: Path, index: Index) -> None:
    """Raise :class:`UserError` for the first shard that is absent, cut short, or of another encoding, by its header."""
    for side in SIDES:
        for number, shard in enumerate(index.shards[side]):
            if not (folder / shard.file).is_file():
                raise UserError(f"encoded:{folder}: there is no {shard.file}, encode again")
            kept = finished(folder, side, number, index.recipe, shard.rows)
            if kept is None or kept[0] != shard:
                raise UserError(
                    f"encoded:{folder}: {shard.file} is cut short, or not the one of {INDEX}: copy it again, or delete "
                    f"it and encode again"
                )


def check_shards(folder: Path, index: Index) -> None:
    """Read every shard and compare it with its hash. Raises :class:`UserError` for the first that is not as written."""
    for side in SIDES:
        for shard in index.shards[side]:
            try:
                atomic.read_tensors(folder / shard.file)
                about = atomic.read_about(folder / shard.file)
            except atomic.Damaged:
                about = {}
            if about.get("sha256") != shard.sha256:
                raise UserError(
                    f"{folder / shard.file} is not as it was written: delete it, and the same `python -m bench.encode` "
                    f"command encodes its rows again"
                )
