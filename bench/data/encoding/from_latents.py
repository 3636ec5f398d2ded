"""Latents that others have encoded, in the scale of their autoencoder as diffusers describes it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.data.dataset import decoded_at_once
from bench.data.encoding.latent_source import LatentSource
from bench.data.encoding.write_latents import LARGEST, chosen
from bench.data.held_out import hash_split
from bench.data.latent_store import EncodingRecipe, Index, Posterior, ShardedRows, Side
from bench.data.sources import classes
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.pretrained.frozen_autoencoder import Autoencoder
else:
    torch = lazy("torch")


@dataclass(frozen=True)
class ConvertedLatents:
    """Latents of a source, divided into both sides by the hash of their keys; images of the side ``validation`` are decoded.

    Attributes:
        name: of the source, without its folder; ``place`` is where the autoencoder lies.
        train, validation: most rows of each side.
        scaled: whether the autoencoder's scaling was applied already.
        names: of the classes by number; None: their captions are ``class 17``.
    """

    source: LatentSource
    name: str
    model: Autoencoder
    place: str
    posterior: Posterior
    train: int
    validation: int
    scaled: bool
    names: Sequence[Sequence[str]] | None

    def __post_init__(self) -> None:
        stored = self.source.stores
        if stored == "sample" and self.posterior != "sample":
            raise UserError(
                f"--posterior {self.posterior}: {self.source.form} are samples; use --posterior sample"
            )
        highest = max((each for each in self.source.labels if isinstance(each, int)), default=-1)
        if self.names is not None and highest < 0:
            raise UserError(f"--classes does not apply to {self.source.form} with captions: leave it out")
        if self.names is not None and highest >= len(self.names):
            raise UserError(
                f"--classes has {len(self.names):,} names, and {self.name} has a class {highest}: numbers begin with 0"
            )

    @cached_property
    def rows(self) -> dict[Side, NDArray[np.int64]]:
        """The source's numbers of the rows of each side; the flipped ones come behind all others."""
        first, second = hash_split(self.source.keys, self.train, self.validation)
        if not first or not second:
            raise UserError(
                f"--latents {self.name}: {len(self.source.keys)} latents are too few for two sides"
            )
        train = np.array(first, dtype=np.int64)
        if self.source.flips:
            train = np.concatenate([train, train + len(self.source.keys)])
        return {"train": train, "validation": np.array(second, dtype=np.int64)}

    @cached_property
    def recipe(self) -> EncodingRecipe:
        """All that decides the values."""
        source, model = self.source, self.model
        edge = source.shape[1] * model.factor
        about = [source.form, source.content, list(source.keys), list(source.labels), self.scaled]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        train, validation = len(self.rows["train"]), len(self.rows["validation"])
        sizes = edge, train, validation
        name = f"{source.form} {self.name}"
        return EncodingRecipe(
            name, digest, *sizes, model.name, self.posterior, source.shape, self.place, reference="decoded"
        )

    def captions(self, side: Side) -> Sequence[Sequence[str]]:
        """A caption for each name of the class, or the source's own."""
        count, labels = len(self.source.keys), self.source.labels
        return [self._captions(labels[row % count]) for row in self.rows[side].tolist()]

    def _captions(self, label: int | tuple[str, ...]) -> tuple[str, ...]:
        if isinstance(label, tuple):
            return label
        if self.names is None:
            return (f"class {label}",)
        return tuple(map(classes.caption, self.names[label]))

    def tensors(self, side: Side, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """The latents of rows, and what the side ``validation`` decodes to."""
        numbers = self.rows[side][rows]
        values = torch.from_numpy(self._read(numbers)).float()
        mean, deviation = (values, None) if self.source.stores == "sample" else values.chunk(2, dim=1)
        if not self.scaled:
            mean, deviation = self.model.scaled(mean, deviation)
        keeps: Posterior = "mean" if self.source.stores == "sample" else self.posterior
        found = chosen(mean, deviation, keeps, side, rows)
        finite = [(each.abs() <= LARGEST).flatten(1).all(1) for each in found.values()]
        if not bool((good := torch.stack(finite).all(0)).all()):
            key = self.source.keys[int(numbers[int((~good).nonzero()[0])]) % len(self.source.keys)]
            raise UserError(f"--latents {self.name}: {key} is not finite, or too large for half precision")
        if side == "validation":
            found["reference"] = self._decoded(found["values"])
        return found

    def _read(self, numbers: NDArray[np.int64]) -> NDArray[Any]:
        count = len(self.source.keys)
        kept, flipped = numbers[numbers < count], numbers[numbers >= count] - count
        parts = [self.source.values(kept)] if len(kept) else []
        if len(flipped):
            assert self.source.flips is not None
            parts.append(self.source.flips(flipped))
        return np.concatenate(parts)

    def _decoded(self, latents: Tensor) -> Tensor:
        device = next(self.model.model.parameters()).device
        edge = latents.shape[-1] * self.model.factor
        parts = [
            self.model.decode(each.half().to(device)).cpu() for each in latents.split(decoded_at_once(edge))
        ]
        return torch.cat(parts).round().clamp(0, 255).to(torch.uint8)

    def remarks(self, out: Path, index: Index) -> list[str]:
        """What was found in the written latents, in words."""
        mean, deviation = index.moments.whole
        found = [
            *self.source.remarks,
            "held-out images are decoded latents: the originals are not in the source",
        ]
        factor = float(self.model.scale.log().mean().exp())
        other = deviation * factor if self.scaled else deviation / factor
        if other > 0 and abs(math.log(other)) < abs(math.log(deviation)) - math.log(2):
            flag = "without --scaled" if self.scaled else "with --scaled"
            found.append(
                f"the deviation is {deviation:.2f}, {flag} it would be {other:.2f}: most scalings make it about 1"
            )
        if self.source.half_range is not None:
            found.append(self._eight_bits(out, index, mean, deviation))
        return found

    def _eight_bits(self, out: Path, index: Index, mean: float, deviation: float) -> str:
        """How well the range of latents in 8 bits fits: a scaling is made for a deviation of about 1."""
        half = self.source.half_range
        assert half is not None
        ends = torch.tensor([-half, half]).view(2, 1, 1, 1).expand(2, index.recipe.shape[0], 1, 1)
        edges = ends if self.scaled else self.model.scaled(ends, None)[0]
        first = ShardedRows(out, (index.shards["train"][0].file,), "values").parts[0]
        low, high = edges.half().numpy()
        share = float(np.mean((first <= low) | (first >= high)))
        known = (24, 28)  # of the README and of the script of the public set
        others = ", ".join(
            f"{deviation * each / (2 * half):.3f} with {each}" for each in known if each != 2 * half
        )
        return (
            f"8 bits over a range of {2 * half:g}: mean {mean:.3f} and deviation {deviation:.3f}, where the autoencoder's "
            f"scaling is made for 0 and 1 (deviation {others}); {share:.2%} of the values of the first shard lie at an end "
            f"of the range; a step is {2 * half / 255:.3f} before scaling, and values rounded down are half of it too low"
        )
