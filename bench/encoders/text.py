"""Captions as the generators see them: encoded once by a frozen text encoder, then looked up.

As in the study (arXiv 2403.03206, section 4) the text encoder is trained beforehand and never changed; the model
receives token vectors for its text stream and one pooled vector for its modulation, and zeros where a caption was
dropped for guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.encoders.encoder import TextEncoder


@dataclass(frozen=True)
class Captions:
    """Distinct captions encoded: ``tokens [U, L, text width]``, ``pooled [U, pooled width]``, and ``index`` by text."""

    tokens: Tensor
    pooled: Tensor
    index: dict[str, int]

    def rows(self, captions: Sequence[str]) -> Tensor:
        """Row numbers ``[N]`` of captions."""
        return torch.tensor([self.index[c] for c in captions], dtype=torch.long)

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and pooled vectors of rows."""
        return self.tokens[rows], self.pooled[rows]


@torch.no_grad()
def encode(
    encoder: TextEncoder, captions: Sequence[str], device: torch.device, chunk: int = 1024
) -> Captions:
    """Encode the distinct ``captions``; positions that are padding in all of them are cut off."""
    distinct = sorted(set(captions))
    parts = [encoder.encode_text(distinct[i : i + chunk]) for i in range(0, len(distinct), chunk)]
    tokens, pooled = (torch.cat(p) for p in zip(*parts, strict=True))
    used = tokens.abs().amax(dim=(0, 2)).nonzero()
    length = int(used.max()) + 1 if len(used) else 1
    return Captions(
        tokens[:, :length].contiguous().to(device), pooled.to(device), {c: i for i, c in enumerate(distinct)}
    )


def drop(tokens: Tensor, pooled: Tensor, dropped: Tensor) -> tuple[Tensor, Tensor]:
    """Zero the captions of the samples where ``dropped [B]`` is true: the unconditional input of guidance."""
    keep = (~dropped).to(tokens.dtype)
    return tokens * keep[:, None, None], pooled * keep[:, None]
