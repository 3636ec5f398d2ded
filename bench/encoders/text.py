"""Captions as the generators see them: encoded once by a frozen text encoder, then looked up.

As in the study (arXiv 2403.03206, section 4) the text encoder is trained beforehand and never changed; the model
receives token vectors for its text stream and one pooled vector for its modulation, and zeros where a caption was
dropped for guidance, or what the encoder gives for the empty caption (:meth:`Captions.dropped_to`).

Each distinct caption is kept once: padded on the device if all fit there, else without padding
(:mod:`bench.encoders.ragged_captions`) on the device, else so in memory or on disk, from where batches are read. No value
depends on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from bench.encoders.encoder import TextEncoder, TextPart, check_finite, text_parts
from bench.encoders.ragged_captions import Ragged, width_of
from bench.machine.cgroup import available_memory
from bench.machine.resident import moved, resident_bytes
from flowbench._core.errors import UserError

Text = tuple[Tensor, Tensor]
"""Tokens and pooled vectors."""


class Captions(ABC):
    """Distinct captions encoded; ``index`` has the row of each, ``parts`` the networks that their tokens are of.

    ``nothing``, ``[L, W]`` and ``[D]``, stands for a dropped caption; None: zeros.

    A batch is read in two steps, so that a thread can make the first ahead: :meth:`drawn` gives what is moved to the device,
    :meth:`looked_up` makes tokens of it there.
    """

    index: Mapping[str, int]
    parts: tuple[TextPart, ...]
    nothing: Text | None

    def dropped_to(self, what: Literal["zeros", "empty"]) -> Self:
        """The same with ``nothing`` of that kind; the empty caption must be among them. Raises :class:`UserError` if that is
        zeros, too."""
        if what == "zeros":
            return self
        tokens, pooled = self[self.rows([""])]
        if not bool(tokens.any() | pooled.any()):
            raise UserError(
                "--dropped empty: this text encoder gives zeros for the empty caption, as --dropped zeros does: leave it out"
            )
        return replace(self, nothing=(tokens[0], pooled[0]))  # type: ignore[type-var]

    def unconditional(self, count: int) -> Text:
        """The input without captions ``[count, L, W]``, ``[count, D]``."""
        length, width, pooled = self.sizes
        tokens, vector = self.nothing or (
            torch.zeros(length, width, device=self.device),
            torch.zeros(pooled, device=self.device),
        )
        return tokens.expand(count, -1, -1), vector.expand(count, -1)

    def rows(self, captions: Sequence[str]) -> Tensor:
        """Row numbers ``[N]`` of captions."""
        return torch.tensor([self.index[c] for c in captions], dtype=torch.long)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens ``[N, L, W]`` and pooled vectors ``[N, D]`` of rows, float32 on the device."""
        return self.looked_up(*(moved(part, self.device) for part in self.drawn(rows)))

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where tokens are looked up."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int, int]:
        """Tokens of a caption, their width, and that of the pooled vector."""

    @property
    @abstractmethod
    def read_bytes(self) -> int:
        """Bytes that are moved to the device for each caption of a batch; 0 if all captions are there."""

    @abstractmethod
    def drawn(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What is moved to the device for rows ``[...]``: themselves, or what is read for them ``[..., L, W]``,
        ``[..., D]``."""

    @abstractmethod
    def looked_up(self, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and pooled vectors, float32, new. Waits for no device."""


@dataclass(frozen=True)
class PaddedCaptions(Captions):
    """``tokens [U, L, W]`` and ``pooled [U, D]`` on the device."""

    tokens: Tensor
    pooled: Tensor
    index: Mapping[str, int]
    parts: tuple[TextPart, ...]
    nothing: Text | None = None

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.tokens.shape[1], self.tokens.shape[2], self.pooled.shape[1]

    @property
    def read_bytes(self) -> int:
        return 0

    def drawn(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (rows,)

    def looked_up(self, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokens[drawn[0]], self.pooled[drawn[0]]


@dataclass(frozen=True)
class RaggedCaptions(Captions):
    """Captions without padding: of one shard on the device, ``place``, or of several in memory or mapped from disk.

    ``index`` counts through all shards; those of its captions are ``length`` tokens long at most.
    """

    shards: tuple[Ragged, ...]
    index: Mapping[str, int]
    parts: tuple[TextPart, ...]
    length: int
    place: torch.device
    resident: bool
    nothing: Text | None = None

    @property
    def device(self) -> torch.device:
        return self.place

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.length, width_of(self.parts), self.shards[0].pooled.shape[1]

    @property
    def read_bytes(self) -> int:
        length, width, pooled = self.sizes
        each = self.shards[0].values[0].element_size() * length * width + 4 * pooled
        return 0 if self.resident else each

    @cached_property
    def firsts(self) -> Tensor:
        """The row where each shard begins."""
        return first_rows(self.shards)

    def drawn(self, rows: Tensor) -> tuple[Tensor, ...]:
        return (rows,) if self.resident else self.read(rows)

    def looked_up(self, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        tokens, pooled = self.shards[0].padded(drawn[0], self.length) if self.resident else drawn
        return tokens.float(), pooled

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and pooled vectors of rows ``[...]``, on the CPU."""
        found = read(self.shards, self.firsts, rows.flatten(), self.length)
        tokens, pooled = (part.unflatten(0, rows.shape) for part in found)
        return tokens, pooled


def first_rows(shards: Sequence[Ragged]) -> Tensor:
    """The row where each shard begins ``[n]``."""
    return torch.tensor(np.cumsum([0, *map(len, shards)])[:-1])


def read(shards: Sequence[Ragged], firsts: Tensor, rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Tokens ``[m, length, W]`` and pooled vectors ``[m, D]`` of rows counted through several shards, on the CPU."""
    places = (torch.searchsorted(firsts, rows, right=True) - 1).tolist()
    within = (rows - firsts[places]).tolist()
    tokens = shards[0].values[0].new_zeros(len(rows), length, width_of(shards[0].parts))
    for one, place, row in zip(tokens, places, within, strict=True):
        shards[place].fill(one, row)
    pooled = [shards[place].pooled[row] for place, row in zip(places, within, strict=True)]
    return tokens, torch.stack(pooled)


@torch.no_grad()
def encode(
    encoder: TextEncoder, captions: Sequence[str], device: torch.device, chunk: int = 1024
) -> Captions:
    """Encode the distinct ``captions``; positions that are padding in all of them are cut off.

    Raises :class:`UserError` for more captions than fit into memory, and for values that are not finite.
    """
    distinct = sorted(set(captions))
    found: list[Ragged] = []
    for i in range(0, len(distinct), chunk):
        tokens, pooled = encoder.encode_text(some := distinct[i : i + chunk])
        check_finite(encoder.name, "caption", some, tokens, pooled)
        found.append(Ragged.of(text_parts(encoder, tokens, pooled), tokens, pooled))
        each, done = found[-1].nbytes / len(found[-1]), i + len(found[-1])
        if each * (len(distinct) - done) > available_memory():
            raise UserError(
                f"{len(distinct):,} captions encoded by {encoder.name} take about {each * len(distinct) / 1e9:.3g} GB, more "
                f"than the memory that is available: encode them once with latents, by `python -m bench.encode --text`, or "
                f"take fewer --train-images"
            )
    return placed(found, {caption: row for row, caption in enumerate(distinct)}, device)


def placed(shards: Sequence[Ragged], index: Mapping[str, int], device: torch.device) -> Captions:
    """The captions of ``index``, with their rows counted through ``shards``, where there is room for them."""
    texts = sorted(index, key=index.__getitem__)
    rows, firsts = torch.tensor([index[text] for text in texts]), first_rows(shards)
    numbered = {text: row for row, text in enumerate(texts)}
    length = int(torch.cat([shard.ends for shard in shards])[rows].max())
    room, parts = resident_bytes(device), shards[0].parts
    within = [
        rows[(first <= rows) & (rows < first + len(shard))] - first
        for shard, first in zip(shards, firsts.tolist(), strict=True)
    ]
    if 4 * len(rows) * (length * width_of(parts) + shards[0].pooled.shape[1]) <= room:
        found = [shard.padded(some, length) for shard, some in zip(shards, within, strict=True)]
        tokens, pooled = (torch.cat(several) for several in zip(*found, strict=True))
        return PaddedCaptions(tokens.float().to(device), pooled.to(device), numbered, parts)
    if sum(shard.nbytes for shard in shards) * len(rows) / sum(map(len, shards)) > room:
        return RaggedCaptions(tuple(shards), index, parts, length, device, resident=False)
    used = Ragged.cat([shard.take(some) for shard, some in zip(shards, within, strict=True)])
    return RaggedCaptions((used.to(device),), numbered, parts, length, device, resident=True)


def unread(cut: int, unknown: int, captions: int, name: str) -> list[str]:
    """Remarks on captions that the encoder ``name`` does not read to the end, or hardly, a line each."""
    lines = [f"{cut:,} of {captions:,} captions are longer than {name} reads, and are cut"] * bool(cut)
    foreign = f"{unknown:,} of {captions:,} captions are mostly outside of the vocabulary of {name}: is it their language?"
    return lines + [foreign] * bool(unknown)


def drop(
    tokens: Tensor, pooled: Tensor, parts: Sequence[TextPart], dropped: Tensor, nothing: Text | None = None
) -> Text:
    """Zero what the networks of ``parts`` gave, in the samples where ``dropped [B, K]`` is true, or put that of ``nothing``,
    ``[L, W]`` and ``[D]``, there. With all of a sample dropped it is the unconditional input of guidance."""
    tokens, pooled, keep = tokens.clone(), pooled.clone(), (~dropped).to(tokens.dtype)
    for place, part in enumerate(parts):
        tokens[:, slice(*part.tokens), slice(*part.channels)] *= keep[:, place, None, None]
        pooled[:, slice(*part.pooled)] *= keep[:, place, None]
        if nothing is not None:
            gone = 1 - keep[:, place]
            block = slice(*part.tokens), slice(*part.channels)
            tokens[:, *block] += gone[:, None, None] * nothing[0][block]
            pooled[:, slice(*part.pooled)] += gone[:, None] * nothing[1][slice(*part.pooled)]
    return tokens, pooled
