"""What a dataset is before it is loaded, and the registry of datasets. No torch.

    @register("stripes(count)")
    def stripes(count: int = 2) -> Builder:
        return Stripes(count)

A :class:`Builder` answers what plans ask without loading anything, and makes the :class:`bench.data.dataset.Dataset` that
cells train on. It is chosen by ``--datasets stripes:count=3``; a function of one parameter without a default takes all that
follows the colon, as ``images:PATH`` does.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from bench.config.experiment import Images
from bench.data.dataset import Dataset
from flowbench._core.errors import UserError
from flowbench._core.plugin import source_behind
from flowbench._core.registry import Registry, blame
from flowbench._core.spec import Specs


class Builder(ABC):
    """A dataset with its options. The attributes are declared, so that plans need not load it."""

    channels: int = 3
    """Of its images, 1 or 3."""
    edge: int | None = None
    """Of its originals in pixels; None if it can be made at any resolution, or has images of many sizes."""
    words: int | None = None
    """Words of its longest caption; None if unknown."""
    latents: Path | None = None
    """A folder of latents, next to which captions may lie encoded."""
    fixed: bool = False
    """Whether its content depends on nothing but its options and sizes and the version of flowbench."""

    @abstractmethod
    def load(self, name: str, images: Images) -> Dataset:
        """The dataset at a resolution, with ``images.train`` and ``images.validation`` images or fewer, as
        :func:`bench.data.dataset.build` makes it of two splits under that ``name``. Raises :class:`UserError`."""

    def shape(self, resolution: int) -> tuple[int, int, int]:
        """Channels, height and width of an input at a resolution of the images."""
        return self.channels, resolution, resolution

    def stored_bytes(self, images: Images) -> int | None:
        """Bytes of a folder of latents; None where inputs are made of images when they are read."""
        return None

    def cache_bytes(self, resolution: int) -> int:
        """Bytes that loading it adds to the user's cache, at most; 0 for what needs none, or is there already."""
        return 0

    def check(self) -> None:  # noqa: B027  (most need no files)
        """Raise :class:`UserError` for files that are not there. Loads nothing."""

    def captions(self, name: str, images: Images) -> list[str]:
        """The training captions, for a look at their words before a run; none of a dataset of ours."""
        return [] if self.fixed else self.load(name, images).train.texts()


registry: Registry[Builder] = Registry("dataset")
register = registry.register
"""Decorator that adds a dataset: ``@register("stripes(count)")`` on a function that returns its :class:`Builder`."""
specs = Specs(registry, Builder, "--datasets", arguments=True)  # type: ignore[type-abstract]
canonical = specs.canonical
"""A spec with the options that differ from their defaults. Raises :class:`UserError`."""


@lru_cache(maxsize=256)
def get(spec: str) -> Builder:
    """The dataset of that name, with its options, not loaded.

    Raises:
        UserError: an unknown name, option or value, with the nearest; no argument where one is needed.
    """
    return specs.make(spec)


registry.caches.append(get.cache_clear)


def load(spec: str, *, resolution: int = 16, train: int = 20_000, validation: int = 2_000) -> Dataset:
    """Load a dataset.

    Args:
        spec: ``shapes`` and ``scenes`` (generated: one object, or two in a relation), ``digits`` (scikit-learn's, one
            channel), ``images:PATH`` (a folder with captions in any of the forms of :mod:`bench.data.sources`, or packed
            files), or a dataset of a plugin.
        resolution: edge of the square images in pixels, 8 to 1024.
        train, validation: how many of each. Exact for ``shapes`` and ``scenes``; elsewhere upper bounds, as 1/8 of all items
            fall on the validation side.

    Raises:
        UserError: an unknown spec, a number out of range, or data that is missing, unreadable, empty or too broken.
    """
    name = canonical(spec)
    for size, value, low, high in (
        ("resolution", resolution, 8, 1024),
        ("train", train, 1, 10**8),
        ("validation", validation, 1, 10**8),
    ):
        if not low <= value <= high:
            raise UserError(f"dataset {spec!r}: {size} is {value}, but must lie in [{low}, {high}]")
    builder, images = get(name), Images(resolution, train, validation)
    ours = type(builder).__module__.startswith("bench.data.")
    with nullcontext() if ours else blame(f"dataset {spec!r}"):
        made = builder.load(name, images)
        if not isinstance(made, Dataset):
            raise UserError(f"dataset {spec!r} loads {type(made).__name__}, not a Dataset: return build(...)")
    if made.decoder is None or ours:
        return made
    text = source_behind(name.partition(":")[0], registry)  # nothing but its file identifies a decoder
    return replace(made, digest=hashlib.sha256(f"{made.digest} {text}".encode()).hexdigest()[:8])
