"""The contract of datasets: what training, validation, sampling and metrics read of a loaded one.

A :class:`Dataset` has two splits of captioned images. ``split.batch(rows)`` gives *inputs*, what a network learns: float32
``[B, c, h, w]`` of zero mean and unit deviation. ``split.reference[rows]`` gives what generated images are compared with:
uint8 ``[B, C, H, W]``. ``dataset.decode(inputs)`` turns the former into the latter. Pixels are the plain case: their inputs
are the scaled reference. Latents come with a decoder. Rows are read on demand, so no split has to be in memory as a whole.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

CHUNK = 1 << 24
"""Numbers read at once where a whole split is read."""
DECODED = 1 << 21
"""Most pixels that a decoder makes at once: 32 images of 256 x 256."""


class Rows(Protocol):
    """Rows of an array of any kind: in memory, memory-mapped, or decoded when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows, ``[N, ...]``."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[Any]:
        """The rows of the given numbers, in that order; some may occur twice."""
        ...


@dataclass(frozen=True)
class Picked:
    """Some ``rows`` of an ``array``, read when they are asked for."""

    array: Rows
    rows: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the picked rows."""
        return (len(self.rows), *self.array.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return self.array[self.rows[rows]]


@dataclass(frozen=True)
class Scale:
    """From values as they are stored to inputs of zero mean and unit deviation, and back.

        input = (value / unit - offset - mean) / std

    ``mean`` and ``std`` are two scalars over all training values of ``value / unit - offset``. The study (arXiv 2403.03206)
    trains on latents normalised in the same way: globally, by one mean and one deviation.
    """

    mean: float
    std: float
    unit: float = 1.0
    offset: float = 0.0

    def inputs(self, values: NDArray[Any]) -> Tensor:
        """Values of any shape and type to float32 inputs."""
        tensor = torch.as_tensor(np.ascontiguousarray(values))
        return (tensor.to(torch.float32) / self.unit - (self.offset + self.mean)) / self.std

    def values(self, inputs: Tensor) -> Tensor:
        """The inverse, float32."""
        return (inputs.to(torch.float32) * self.std + (self.offset + self.mean)) * self.unit


@dataclass(frozen=True)
class Split:
    """Captioned images: ``reference`` uint8 ``[N, C, H, W]`` with C 1 or 3, N captions, integer attributes ``[N, ...]`` if
    known.

    ``values [N, c, h, w]`` are what is learned, numbers of any type before :attr:`scale`; None: the pixels. With
    ``deviations`` of that shape they are means: each training step draws ``value + deviation eps``. ``captions`` are the
    first of each image; ``alternatives`` all captions of each, if some image has several.
    """

    reference: Rows
    captions: tuple[str, ...]
    attributes: NDArray[np.int64] | None = None
    alternatives: tuple[tuple[str, ...], ...] = ()
    mix: float | None = None
    """Probability of another than the first caption of an image in training; None: all are drawn alike."""
    values: Rows | None = None
    deviations: Rows | None = None
    scale: Scale = Scale(0.0, 1.0)
    """Set by :func:`build`."""

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an input."""
        channels, height, width = self.stored.shape[1:]
        return channels, height, width

    @property
    def stored(self) -> Rows:
        """What inputs are made of: the values, or the pixels."""
        return self.reference if self.values is None else self.values

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """The inputs of rows, in their order: float32 ``[B, c, h, w]`` on the CPU."""
        return self.scale.inputs(self.stored[rows])

    def spread(self, rows: NDArray[np.int64]) -> Tensor:
        """The standard deviations of the inputs of rows, as :meth:`batch`. For a split that has some."""
        assert self.deviations is not None
        found = torch.from_numpy(self.deviations[rows].astype(np.float32))
        return found / (self.scale.unit * self.scale.std)

    def every(self) -> tuple[tuple[str, ...], ...]:
        """All captions of each image."""
        return self.alternatives or tuple((caption,) for caption in self.captions)

    def texts(self) -> list[str]:
        """All captions of all images, one image after the other."""
        return [caption for several in self.every() for caption in several]


@dataclass(frozen=True)
class Dataset:
    """A loaded dataset.

    ``digest`` names the content: equal digests mean equal values, images, captions, order and split. ``decoder`` turns
    values ``[n, c, h, w]`` into pixels ``[n, C, H, W]`` from 0 to 255; None where the values are pixels. ``skipped`` lists
    the items left out and why; ``notes`` are remarks on how the data were read, for the user.
    """

    name: str
    digest: str
    train: Split
    validation: Split
    decoder: Callable[[Tensor], Tensor] | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def decode(self, inputs: Tensor) -> Tensor:
        """Inputs ``[..., c, h, w]`` to uint8 images ``[..., C, H, W]`` on the same device, rounded and clamped to 0..255;
        infinities are clamped too, NaN becomes black."""
        pixels = self.train.scale.values(inputs)
        if self.decoder is not None:
            lead, flat = pixels.shape[:-3], pixels.reshape(-1, *pixels.shape[-3:])
            size = decoded_at_once(self.validation.reference.shape[-1])
            with torch.no_grad():
                parts = [self.decoder(part) for part in flat.split(size)]
            pixels = torch.cat(parts).reshape(*lead, *parts[0].shape[1:]).to(torch.float32)
        return torch.nan_to_num(pixels, nan=0.0).round().clamp(0, 255).to(torch.uint8)


def chunks(array: Rows) -> Iterator[NDArray[np.int64]]:
    """The numbers of all rows in order, as many at a time as are read at once."""
    size = max(1, CHUNK // max(1, math.prod(array.shape[1:])))
    return (np.arange(start, min(start + size, len(array))) for start in range(0, len(array), size))


def decoded_at_once(edge: int) -> int:
    """How many images of an edge a decoder makes at once."""
    return max(1, DECODED // edge**2)


def build(
    name: str,
    splits: tuple[Split, Split],
    decoder: Callable[[Tensor], Tensor] | None = None,
    skipped: Iterable[str] = (),
    notes: Iterable[str] = (),
    *,
    scale: Scale | None = None,
    digest: str | None = None,
) -> Dataset:
    """A :class:`Dataset` of a training and a validation split.

    ``scale`` is measured on the training split and ``digest`` computed from all content, in a pass over each, unless they
    are given: a dataset that is kept in files may keep these two as well.

    Raises:
        UserError: a split is empty or of odd shapes, values without a decoder or the other way round, or training values
            that are all the same.
    """
    for side, split in zip(("training", "validation"), splits, strict=True):
        _check(name, side, split, decoder is not None)
    scale = scale or _scale(splits[0])
    if scale.std < 1e-6:  # far below one gray level; rounding keeps it from being 0
        what = "pixels" if decoder is None else "values"
        raise UserError(f"dataset {name!r}: all training {what} have one value, there is nothing to learn")
    train, validation = (replace(split, scale=scale) for split in splits)
    digest = digest or _digest(name, splits)
    return Dataset(name, digest, train, validation, decoder, tuple(skipped), tuple(notes))


def _check(name: str, side: str, split: Split, decoded: bool) -> None:
    if not len(split):
        raise UserError(f"dataset {name!r} has no {side} images: it is too small for a split of 7 to 1")
    if split.deviations is not None and (side, split.deviations.shape) != ("training", split.stored.shape):
        raise UserError(f"dataset {name!r}: deviations belong to training values and have their shape")
    if decoded != (split.values is not None):
        raise UserError(
            f"dataset {name!r}: values to learn and a decoder of them belong together, one is absent"
        )
    for what, rows in (("images", split.reference), ("values", split.stored)):
        if len(rows.shape) != 4 or rows.shape[2] != rows.shape[3] or len(rows) != len(split):
            raise UserError(
                f"dataset {name!r}: its {side} {what} are {list(rows.shape)}, not [{len(split)} captions, C, side, side]"
            )
    if split.reference.shape[1] not in (1, 3):
        raise UserError(f"dataset {name!r}: its images have {split.reference.shape[1]} channels, not 1 or 3")


def _scale(split: Split) -> Scale:
    """The scale of training pixels, or of values."""
    if split.values is None:
        return Scale(*_moments_of_pixels(split.reference), unit=127.5, offset=1.0)
    values, count = split.values, math.prod(split.values.shape)
    mean = sum(np.sum(v, dtype=np.float64) for v in _parts(values)) / count
    square = sum(np.square(v - mean, dtype=np.float64).sum() for v in _parts(values)) / count
    if split.deviations is not None:
        square += sum(np.square(v, dtype=np.float64).sum() for v in _parts(split.deviations)) / count
    return Scale(float(mean), float(np.sqrt(square)))


def _parts(array: Rows) -> Iterator[NDArray[Any]]:
    """All rows, chunk by chunk, in the order of memory that sums and bytes depend on."""
    return (np.ascontiguousarray(array[rows]) for rows in chunks(array))


def _moments_of_pixels(images: Rows) -> tuple[float, float]:
    """Mean and deviation of ``value / 127.5 - 1``, exactly, from the counts of the 256 values."""
    counts = np.zeros(256)
    for part in _parts(images):
        counts += np.bincount(part.ravel(), minlength=256)
    values = np.arange(256) / 127.5 - 1
    mean = float(counts @ values / counts.sum())
    return mean, float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))


def _digest(name: str, splits: tuple[Split, Split]) -> str:
    sha = hashlib.sha256(name.encode())
    for split in splits:
        for array in (split.reference, split.values, split.deviations):
            if array is not None:
                sha.update(f"|{tuple(array.shape)}|".encode())
                for part in _parts(array):
                    sha.update(memoryview(part).cast("B"))
        sha.update("\n".join(split.captions).encode())
        if split.alternatives:
            sha.update(json.dumps(split.alternatives).encode())
    return sha.hexdigest()[:8]
