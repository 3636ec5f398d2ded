"""Writes the latents of an origin into a folder, shard by shard. The same call again does what is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.config.seeds import seed_for
from bench.data import latent_store
from bench.data.channel_moments import ChannelMoments
from bench.data.images import LEFT_SECONDS
from bench.data.latent_store import INDEX, SIDES, EncodingRecipe, Index, Posterior, Shard, Side
from bench.data.row_captions import write_captions
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.terminal import many, short

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

log = logging.getLogger(__name__)
LARGEST = 65504.0
"""The largest number of float16."""
LATENTS = ("values", "deviations")
"""Tensors that are kept in half precision."""


class Origin(Protocol):
    """Where latents come from: their recipe, and the rows of both sides in a fixed order."""

    @property
    def recipe(self) -> EncodingRecipe:
        """All that decides the values."""
        ...

    def captions(self, side: Side) -> Sequence[Sequence[str]]:
        """All captions of each row."""
        ...

    def tensors(self, side: Side, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """The latents ``values [n, c, h, w]`` of rows, float32 on the CPU. Of the side ``validation`` also their images,
        uint8 ``reference [n, 3, R, R]``; of ``train``, if the recipe keeps distributions, also their ``deviations``."""
        ...


@dataclass(frozen=True)
class Part:
    """The shards of one process of several: those whose number leaves ``index`` when it is divided by ``count``."""

    index: int = 0
    count: int = 1


def write(out: Path, origin: Origin, part: Part, licences: Mapping[str, str]) -> Index | None:
    """Write the shards of a part that are not there yet; with all shards there, captions and the index.

    Returns the index, or None if shards of other parts are not there yet. Raises :class:`UserError` for a folder with
    latents of another recipe, and for latents that float16 cannot hold.
    """
    recipe = origin.recipe
    kept = latent_store.read_index(out) if (out / INDEX).is_file() else None
    if kept and kept.recipe != recipe:
        raise UserError(f"--out {out} holds {described(kept.recipe)}: name another folder, or delete it")
    out.mkdir(parents=True, exist_ok=True)
    atomic.sweep(out, LEFT_SECONDS)
    began, done = time.monotonic(), 0
    for number, (side, place, rows) in enumerate(shards(recipe)):
        if number % part.count != part.index or latent_store.finished(out, side, place, recipe, len(rows)):
            continue
        write_shard(out, side, place, recipe, origin.tensors(side, rows))
        done += len(rows)
        rate = done / (time.monotonic() - began)
        log.info("%s: %s latents, %.1f a second", latent_store.shard_name(side, place), f"{done:,}", rate)
    index = finish(out, origin, licences)
    if index is None and part.count == 1:
        raise UserError(f"--out {out}: another command encodes something else into it: name another folder")
    return index


def shards(recipe: EncodingRecipe) -> Iterator[tuple[Side, int, NDArray[np.int64]]]:
    """The rows of every shard, by side and number."""
    for side in SIDES:
        count, size = getattr(recipe, side), latent_store.ROWS
        for place, first in enumerate(range(0, count, size)):
            yield side, place, np.arange(first, min(first + size, count))


def write_shard(
    out: Path, side: Side, place: int, recipe: EncodingRecipe, tensors: dict[str, Tensor]
) -> None:
    """Write one shard in half precision. Raises :class:`UserError` for latents that float16 cannot hold."""
    if not all(bool((each.abs() <= LARGEST).all()) for name, each in tensors.items() if name in LATENTS):
        raise UserError(
            f"{recipe.autoencoder} gives latents that are not finite or too large for half precision: they cannot be kept"
        )
    half = {name: tensors[name].half() for name in LATENTS if name in tensors}
    moments = ChannelMoments.of(*(each.numpy() for each in half.values()))
    latent_store.write_shard(out, side, place, recipe, {**tensors, **half}, moments)


def finish(out: Path, origin: Origin, licences: Mapping[str, str]) -> Index | None:
    """Write captions and index if every shard is there, and return it."""
    found: dict[Side, list[Shard]] = {side: [] for side in SIDES}
    sums: list[ChannelMoments] = []
    for side, place, rows in shards(origin.recipe):
        shard = latent_store.finished(out, side, place, origin.recipe, len(rows))
        if shard is None:
            return None
        found[side].append(shard[0])
        if side == "train":
            sums.append(shard[1])
    tables = write_captions(out, {side: origin.captions(side) for side in SIDES})
    shards_of = {side: tuple(found[side]) for side in SIDES}
    index = Index(origin.recipe, shards_of, ChannelMoments.sum(sums), licences, tables)
    index.write(out)
    return index


def chosen(
    mean: Tensor, deviation: Tensor | None, posterior: Posterior, side: Side, rows: NDArray[np.int64]
) -> dict[str, Tensor]:
    """What is kept of the distributions of rows. Raises :class:`UserError` where there are none, and one is asked for."""
    if posterior == "mean":
        return {"values": mean}
    if deviation is None:
        raise UserError(
            f"--posterior {posterior}: the autoencoder is deterministic, its latents have no deviation: use --posterior mean"
        )
    if posterior == "mean+std":
        return {"values": mean, **({"deviations": deviation} if side == "train" else {})}
    return {"values": sampled(mean, deviation, side, rows)}


def sampled(mean: Tensor, deviation: Tensor, side: Side, rows: NDArray[np.int64]) -> Tensor:
    """One sample of each row's distribution, by a fixed seed of its number."""
    drawn = torch.empty_like(mean)
    for at, row in enumerate(rows.tolist()):
        generator = torch.Generator().manual_seed(seed_for("posterior", side, row))
        torch.randn(mean.shape[1:], generator=generator, out=drawn[at])
    return mean + deviation * drawn


def described(recipe: EncodingRecipe) -> str:
    """The content of a folder in words."""
    size = "x".join(map(str, recipe.shape))
    return (
        f"{many(recipe.train, 'training latent')} and {recipe.validation:,} of validation of {recipe.source}, {size}, "
        f"by {recipe.autoencoder}, posterior {recipe.posterior}"
    )


def summary(out: Path, index: Index) -> str:
    """A line about a folder that is complete."""
    mean, deviation = index.moments.whole
    return f"{short(out)}: {described(index.recipe)}; mean {mean:.3f}, deviation {deviation:.3f}"


def licensed(index: Index) -> str:
    """The licences of a folder's data and autoencoder in words."""
    known = [f"{index.licences.get(what, 'not stated')} of the {what}" for what in ("data", "autoencoder")]
    absent = "data" not in index.licences
    return f"licences: {', '.join(known)}" + " (--licence TEXT records that of the data)" * absent
