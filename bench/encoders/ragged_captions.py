"""Encoded captions without their padding.

    tokens[:, a:b, c:d] = each caption's rows of a part, then zeros          pooled as it is

A part is what one network of several gives (:class:`bench.encoders.encoder.TextPart`): a range of tokens by a range of
channels. Of each part the rows of all captions lie one after another, up to a caption's last one that is not zero, so that
zeros behind a caption's end and between parts take no place. Padding with other values cannot be left out: states there
depend on their position and on the caption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.encoders.encoder import TextPart


@dataclass(frozen=True)
class Ragged:
    """``n`` captions: of each part ``values [T, channels]`` and ``lengths [n]``; ``pooled [n, D]``. Of any float type."""

    parts: tuple[TextPart, ...]
    values: tuple[Tensor, ...]
    lengths: tuple[Tensor, ...]
    pooled: Tensor

    @classmethod
    def of(cls, parts: Sequence[TextPart], tokens: Tensor, pooled: Tensor) -> Ragged:
        """Without the padding of ``tokens [n, L, W]``."""
        values, lengths = [], []
        for part in parts:
            block = tokens[:, slice(*part.tokens), slice(*part.channels)]
            places = torch.arange(1, block.shape[1] + 1)
            length = ((block != 0).any(-1) * places).amax(1).clamp_min(1)
            values.append(block[places <= length[:, None]])
            lengths.append(length)
        return cls(tuple(parts), tuple(values), tuple(lengths), pooled)

    @classmethod
    def cat(cls, several: Sequence[Ragged]) -> Ragged:
        """The captions of one after those of the other."""
        values, lengths = (
            tuple(torch.cat(part) for part in zip(*found, strict=True))
            for found in ([r.values for r in several], [r.lengths for r in several])
        )
        return cls(several[0].parts, values, lengths, torch.cat([r.pooled for r in several]))

    def __len__(self) -> int:
        return len(self.pooled)

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers."""
        return sum(tensor.nbytes for tensor in (*self.values, *self.lengths, self.pooled))

    @cached_property
    def starts(self) -> tuple[Tensor, ...]:
        """Of each part the place of each caption's first row ``[n]``."""
        return tuple(length.cumsum(0) - length for length in self.lengths)

    @cached_property
    def ends(self) -> Tensor:
        """How many tokens each caption needs ``[n]``."""
        each = [part.tokens[0] + length for part, length in zip(self.parts, self.lengths, strict=True)]
        return torch.stack(each).amax(0)

    def to(self, device: torch.device) -> Ragged:
        """The same on a device."""
        values, lengths = (tuple(t.to(device) for t in several) for several in (self.values, self.lengths))
        return Ragged(self.parts, values, lengths, self.pooled.to(device))

    def take(self, rows: Tensor) -> Ragged:
        """The captions of ``rows [m]``, in their order."""
        values, lengths = [], []
        for value, length, start in zip(self.values, self.lengths, self.starts, strict=True):
            taken = length[rows]
            first = taken.cumsum(0) - taken
            within = torch.arange(int(taken.sum())) - first.repeat_interleave(taken)
            values.append(value[start[rows].repeat_interleave(taken) + within])
            lengths.append(taken)
        return Ragged(self.parts, tuple(values), tuple(lengths), self.pooled[rows])

    def padded(self, rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Tokens ``[m, length, width]`` and pooled vectors ``[m, D]`` of ``rows [m]``. Waits for no device."""
        tokens = self.pooled.new_zeros(len(rows), length, width_of(self.parts), dtype=self.values[0].dtype)
        for part, value, lengths, starts in zip(
            self.parts, self.values, self.lengths, self.starts, strict=True
        ):
            first, last = part.tokens[0], min(part.tokens[1], length)
            place = torch.arange(last - first, device=rows.device)
            own = place < lengths[rows][:, None]
            at = starts[rows][:, None] + torch.where(own, place, 0)
            tokens[:, first:last, slice(*part.channels)] = value[at] * own[..., None]
        return tokens, self.pooled[rows]

    def fill(self, tokens: Tensor, row: int) -> None:
        """Write one caption into zeros ``[length, width]``: where captions of a batch lie apart, less is copied so."""
        for part, value, lengths, starts in zip(
            self.parts, self.values, self.lengths, self.starts, strict=True
        ):
            first, count, start = part.tokens[0], int(lengths[row]), int(starts[row])
            tokens[first : first + count, slice(*part.channels)] = value[start : start + count]


def width_of(parts: Sequence[TextPart]) -> int:
    """Channels of all parts."""
    return max(part.channels[1] for part in parts)
