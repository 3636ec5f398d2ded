"""What every data set is once loaded: two splits of captioned uint8 images, and their scale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

VALIDATION_SHARE = 1 / 8
"""The share of keys whose hash falls on the validation side."""


@dataclass(frozen=True)
class Split:
    """Captioned images: uint8 ``[N, C, H, W]``, N sentences, integer attributes ``[N, ...]`` if known.

    ``captions`` are the first of each image; ``alternatives`` all captions of each, if some image has several.
    """

    images: NDArray[np.uint8]
    captions: tuple[str, ...]
    attributes: NDArray[np.int64] | None = None
    alternatives: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def every(self) -> tuple[tuple[str, ...], ...]:
        """All captions of each image."""
        return self.alternatives or tuple((caption,) for caption in self.captions)

    def texts(self) -> list[str]:
        """All captions of all images, one image after the other."""
        return [caption for several in self.every() for caption in several]


@dataclass(frozen=True)
class Data:
    """A loaded data set.

    ``mean`` and ``std`` are two scalars over all training pixels of ``value / 127.5 - 1``; the paper trains
    on latents normalised in the same way (globally, one mean and one deviation). ``digest`` names the
    content: equal digests mean equal images, captions, order and split. ``skipped`` lists the items left out
    and why; ``notes`` is what else a user should know of how the data were read.
    """

    name: str
    digest: str
    train: Split
    validation: Split
    mean: float
    std: float
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def normalize(self, images: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
        """uint8 images to float32 of zero mean and unit deviation: ``(value / 127.5 - 1 - mean) / std``.

        Keeps the shape, and the device of a tensor.
        """
        tensor = torch.as_tensor(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
        return (tensor.to(torch.float32) / 127.5 - (1 + self.mean)) / self.std

    def denormalize(self, images: torch.Tensor) -> torch.Tensor:
        """The inverse: to uint8, rounded and clamped to 0..255 (infinities clamp too, NaN becomes black)."""
        value = (images.to(torch.float32) * self.std + (1 + self.mean)) * 127.5
        return torch.nan_to_num(value, nan=0.0).round().clamp(0, 255).to(torch.uint8)


def unit_hash(key: str) -> float:
    """A key's place in ``[0, 1)``, by sha256: fixed for ever, whatever other keys there are."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def in_validation(key: str) -> bool:
    """Whether an item belongs to the validation side of the split."""
    return unit_hash(key) < VALIDATION_SHARE


def hash_split(keys: Sequence[str], train: int, validation: int) -> tuple[list[int], list[int]]:
    """Positions of the training and validation items among ``keys``; both counts are upper bounds.

    An item's side depends on its own key only. Where a bound leaves items out, those of the lowest hash stay,
    so that a subset is spread evenly and stable as well. The order of ``keys`` is kept.
    """
    order = sorted(range(len(keys)), key=lambda i: (unit_hash(keys[i]), keys[i], i))
    sides: tuple[list[int], list[int]] = ([], [])
    for i in order:
        sides[int(in_validation(keys[i]))].append(i)
    return sorted(sides[0][:train]), sorted(sides[1][:validation])


def build(
    name: str, splits: tuple[Split, Split], skipped: Iterable[str] = (), notes: Iterable[str] = ()
) -> Data:
    """A :class:`Data` of two splits: measures mean and deviation and computes the digest.

    Raises:
        UserError: a split is empty, or all training pixels are the same.
    """
    train, validation = splits
    for side, split in (("training", train), ("validation", validation)):
        if not len(split):
            raise UserError(f"dataset {name!r} has no {side} images: it is too small for a split of 7 to 1")
    mean, std = _moments(train.images)
    if std < 1e-6:  # far below one gray level; rounding keeps it from being 0
        raise UserError(f"dataset {name!r}: all training pixels have one value, there is nothing to learn")
    return Data(name, _digest(name, splits), train, validation, mean, std, tuple(skipped), tuple(notes))


def _moments(images: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean and deviation of ``value / 127.5 - 1``, exactly, from the counts of the 256 values."""
    counts = np.zeros(256)
    for start in range(0, len(images), 4096):  # bincount widens its input to int64
        counts += np.bincount(images[start : start + 4096].ravel(), minlength=256)
    values = np.arange(256) / 127.5 - 1
    mean = float(counts @ values / counts.sum())
    return mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))


def _digest(name: str, splits: tuple[Split, Split]) -> str:
    sha = hashlib.sha256(name.encode())
    for split in splits:
        sha.update(f"|{split.images.shape}|".encode())
        sha.update(_buffer(split.images))
        sha.update("\n".join(split.captions).encode())
        if split.alternatives:
            sha.update(json.dumps(split.alternatives).encode())
    return sha.hexdigest()[:8]


def _buffer(array: NDArray[Any]) -> memoryview:
    return memoryview(np.ascontiguousarray(array)).cast("B")
