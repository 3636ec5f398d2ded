"""The latents of a dataset of images by an autoencoder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import Dataset, Split
from bench.data.encoding.write_latents import chosen
from bench.data.latent_store import EncodingRecipe, Posterior, Side
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.pretrained.frozen_autoencoder import Autoencoder
else:
    torch = lazy("torch")


def held_out_of(dataset: Dataset, other: Dataset) -> Dataset:
    """A dataset whose held-out images are those that another trains on. Raises :class:`UserError` for latents."""
    if other.decoder is not None:
        raise UserError(f"--validation-data {other.name}: its images are latents already")
    digest = hashlib.sha256(f"{dataset.digest} {other.digest}".encode()).hexdigest()[:8]
    return replace(dataset, name=f"{dataset.name}+{other.name}", digest=digest, validation=other.train)


@dataclass(frozen=True)
class EncodedImages:
    """A dataset and what encodes it, ``batch`` images at a time; ``place`` is where the autoencoder lies."""

    dataset: Dataset
    model: Autoencoder
    place: str
    posterior: Posterior
    batch: int

    def __post_init__(self) -> None:
        if self.dataset.decoder is not None:
            raise UserError(f"--data {self.dataset.name}: its images are latents already")

    @property
    def recipe(self) -> EncodingRecipe:
        """All that decides the values."""
        dataset, model = self.dataset, self.model
        resolution = dataset.validation.reference.shape[-1]
        shape = model.channels, resolution // model.factor, resolution // model.factor
        sizes = len(dataset.train), len(dataset.validation)
        about = dataset.name, dataset.digest, resolution, *sizes
        return EncodingRecipe(*about, model.name, self.posterior, shape, self.place)

    def captions(self, side: Side) -> Sequence[Sequence[str]]:
        """All captions of each image."""
        return self._split(side).every()

    def tensors(self, side: Side, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Latents, and the images of the side ``validation``. No row depends on those encoded with it but for rounding."""
        parts: dict[str, list[Tensor]] = {}
        for i in range(0, len(rows), self.batch):
            taken = rows[i : i + self.batch]
            pixels = torch.from_numpy(np.ascontiguousarray(self._split(side).reference[taken]))
            mean, deviation = (None if part is None else part.cpu() for part in self.model.encode(pixels))
            assert mean is not None
            found = chosen(mean, deviation, self.posterior, side, taken)
            if side == "validation":
                found["reference"] = pixels.expand(-1, 3, -1, -1)
            for name, tensor in found.items():
                parts.setdefault(name, []).append(tensor)
        return {name: torch.cat(several) for name, several in parts.items()}

    def _split(self, side: Side) -> Split:
        split: Split = getattr(self.dataset, side)
        return split
