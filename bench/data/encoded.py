"""``encoded:PATH``: latents that ``python -m bench.encode`` made once, read from disk as they are drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.config.experiment import Images
from bench.data.builder import Builder, register
from bench.data.caption_mix import ALIKE, mixed
from bench.data.dataset import Dataset, Picked, Rows, Scale, Split, build, decoded_at_once
from bench.data.held_out import unit_hash
from bench.data.latent_store import (
    INDEX,
    EncodingRecipe,
    Index,
    ShardedRows,
    Side,
    check_headers,
    read_index,
)
from bench.data.row_captions import read_captions
from bench.pretrained import frozen_autoencoder
from bench.pretrained.hub import Place
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


class Decoder:
    """The autoencoder of a folder, loaded when something is decoded."""

    def __init__(self, place: Place, wanted: str) -> None:
        self.place, self.wanted = place, wanted

    @cached_property
    def model(self) -> frozen_autoencoder.Autoencoder:
        """Raises :class:`UserError` if it is absent, or another than the one that encoded."""
        found = frozen_autoencoder.load(self.place)
        if found.name != self.wanted:
            raise UserError(
                f"the autoencoder {self.place.where} is {found.name}, and the latents were made by {self.wanted}: name its "
                f"folder by {self.place.spec}FOLDER"
            )
        return found

    def __call__(self, latents: Tensor) -> Tensor:
        """Latents to pixels 0 to 255."""
        return self.model.decode(latents)


@dataclass(frozen=True)
class Decoded:
    """Images of latents, uint8 ``[N, 3, R, R]``, decoded when they are asked for: what is stored of training images."""

    latents: Rows
    decoder: Callable[[Tensor], Tensor]
    edge: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all images."""
        return len(self.latents), 3, self.edge, self.edge

    def __len__(self) -> int:
        return len(self.latents)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        values = torch.from_numpy(np.ascontiguousarray(self.latents[rows])).float()
        parts = [self.decoder(part) for part in values.split(decoded_at_once(self.edge))]
        pixels: NDArray[Any] = torch.cat(parts).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return pixels


class Encoded(Builder):
    """A folder of latents. ``place`` is where its autoencoder lies, if not where it lay then; ``mix`` the probability of
    another than the first caption (:mod:`bench.data.caption_mix`)."""

    channels = 3

    def __init__(self, path: str, place: str | None, mix: float) -> None:
        self.folder = self.latents = Path(path).expanduser()
        self.place, self.mix = place, mix

    @cached_property
    def index(self) -> Index:
        """What was encoded."""
        return read_index(self.folder)

    @property
    def edge(self) -> int:  # type: ignore[override]
        """Of its originals in pixels."""
        return self.index.recipe.resolution

    def shape(self, resolution: int) -> tuple[int, int, int]:
        """Of a latent. Before the folder is there, for an estimate, of the study's: 16 channels for 8 x 8 pixels. Raises
        :class:`UserError` for another resolution than that of the folder."""
        if not (self.folder / INDEX).is_file():
            edge = max(4, resolution // 8)
            return 16, edge, edge
        if resolution != self.edge:
            raise UserError(
                f"encoded:{self.folder} has latents of images of {self.edge} pixels: use --resolution {self.edge}"
            )
        return self.index.recipe.shape

    def stored_bytes(self, images: Images) -> int:
        """What the shards take, or would take."""
        if (self.folder / INDEX).is_file():
            return self.index.recipe.bytes
        about = "", "", images.resolution, images.train, images.validation, ""
        return EncodingRecipe(*about, "mean", self.shape(images.resolution), "").bytes

    def check(self) -> None:
        """Raise :class:`UserError` for a folder without an index, without one of its shards, or without its autoencoder."""
        check_headers(self.folder, self.index)
        frozen_autoencoder.check(self.decoded_by)

    @property
    def decoded_by(self) -> Place:
        """Where its autoencoder is."""
        where = self.place or self.index.recipe.place
        return frozen_autoencoder.place(where, f"--datasets encoded:{self.folder},autoencoder=")

    def load(self, name: str, images: Images) -> Dataset:
        """Both sides; of more rows than are asked for those of the lowest hash."""
        self.shape(images.resolution)
        index, recipe = self.index, self.index.recipe
        check_headers(self.folder, index)
        captions = read_captions(self.folder, index)
        decoder = Decoder(self.decoded_by, recipe.autoencoder)
        most: dict[Side, int] = {"train": images.train, "validation": images.validation}
        first, second = (self._split(side, captions[side], most[side], decoder) for side in most)
        mean, deviation = index.moments.whole
        content = json.dumps([index.digest, first.every(), second.every()])
        note = f"latents of {recipe.source} at {recipe.resolution} px by {recipe.autoencoder}, posterior {recipe.posterior}"
        if recipe.reference == "decoded":
            note += "; held-out images are decoded latents"
        if len(first) < recipe.train:
            note += f"; {len(first):,} of {recipe.train:,} of training are used: --train-images {recipe.train} uses all"
        return build(
            f"encoded:{recipe.source}",
            (mixed(first, self.mix, f"encoded:{self.folder}"), second),
            decoder,
            notes=[note],
            scale=Scale(mean, deviation),
            digest=hashlib.sha256(content.encode()).hexdigest()[:8],
        )

    def _split(self, side: Side, captions: list[tuple[str, ...]], most: int, decoder: Decoder) -> Split:
        files = tuple(shard.file for shard in self.index.shards[side])
        chosen = sorted(range(len(captions)), key=lambda row: unit_hash(f"{side} {row}"))[:most]
        rows = np.array(sorted(chosen), dtype=np.int64)
        values = Picked(ShardedRows(self.folder, files, "values"), rows)
        deviations = None
        if side == "train" and self.index.recipe.posterior == "mean+std":
            deviations = Picked(ShardedRows(self.folder, files, "deviations"), rows)
        stored: Rows = Decoded(values, decoder, self.edge)
        if side == "validation":
            stored = Picked(ShardedRows(self.folder, files, "reference"), rows)
        kept = [captions[row] for row in rows]
        several = tuple(kept) if any(len(each) > 1 for each in kept) else ()
        first = tuple(each[0] for each in kept)
        return Split(stored, first, alternatives=several, values=values, deviations=deviations)


@register("encoded(path,autoencoder,mix)")
def encoded(path: str, autoencoder: str = "", mix: float = ALIKE) -> Builder:
    """Latents that ``python -m bench.encode`` wrote."""
    return Encoded(path, autoencoder or None, mix)
