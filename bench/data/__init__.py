"""Captioned image sets: ``load("shapes")``, ``load("scenes")``, ``load("digits")``, ``load("images:PATH")``."""

from __future__ import annotations

from pathlib import Path

from bench.data.dataset import Dataset, Split, build
from flowbench._core.errors import UserError, nearest

__all__ = ["Dataset", "Split", "check_spec", "load", "own_captions", "own_resolution"]

SPECS = ("shapes", "scenes", "digits", "images:PATH")
MOST_SKIPPED = 0.05
"""The largest share of corrupt or caption-less items that is tolerated."""


def check_spec(spec: str) -> None:
    """Raise UserError if ``spec`` names no dataset, or a path without images or shards. Lists and loads nothing."""
    kind, colon, where = spec.partition(":")
    if spec not in SPECS[:-1] and (kind, colon) != ("images", ":"):
        raise UserError(f"unknown dataset {spec!r}; {nearest(kind, SPECS)}")
    if colon:
        from bench.data import sources

        sources.check(where)


def own_resolution(spec: str) -> int | None:
    """Edge of the originals of a dataset; None for one that is drawn at any resolution, or whose pictures have many."""
    from bench.data import digits

    return digits.RESOLUTION if spec == "digits" else None


def own_captions(spec: str, *, resolution: int, train: int, validation: int) -> list[str]:
    """The captions of ``images:PATH``; none of our own data sets. Cheaper than :func:`load`, and raises its UserError as far
    as can be told without decoding many pictures."""
    if not spec.startswith("images:"):
        return []
    from bench.data import images

    return images.captions(spec.removeprefix("images:"), resolution, train, validation, None, MOST_SKIPPED)


def load(
    spec: str,
    *,
    resolution: int = 16,
    train: int = 20_000,
    validation: int = 2_000,
    cache: str | Path | None = None,
    max_skipped: float = MOST_SKIPPED,
) -> Dataset:
    """Load a data set, split by a hash of its items.

    Args:
        spec: ``shapes`` and ``scenes`` (generated: one object, or two in a relation), ``digits`` (scikit-learn's, one
            channel) or ``images:PATH``: a folder with captions in any of the forms of :mod:`bench.data.sources`, or
            packed files.
        resolution: side of the square images in pixels, 8 to 1024.
        train, validation: how many of each. Exact for ``shapes`` and ``scenes``; elsewhere upper bounds, as 1/8 of all items
            fall on the validation side.
        cache: folder for decoded ``images:``; by default ``$XDG_CACHE_HOME/flowbench``, or
            ``~/.cache/flowbench``.
        max_skipped: the largest share of corrupt or caption-less items of ``images:`` that is tolerated.

    Raises:
        UserError: unknown spec, a number out of range, or data that is missing, unreadable, empty or too
            broken.
    """
    for name, value, low, high in (
        ("resolution", resolution, 8, 1024),
        ("train", train, 1, 10**8),
        ("validation", validation, 1, 10**8),
    ):
        if not low <= value <= high:
            raise UserError(f"dataset {spec!r}: {name} is {value}, but must lie in [{low}, {high}]")
    if not 0 <= max_skipped <= 1:
        raise UserError(f"dataset {spec!r}: max_skipped is {max_skipped}, but must lie in [0, 1]")
    if spec in ("shapes", "scenes"):
        from bench.data import shapes

        return build(spec, shapes.load(spec, resolution, train, validation))
    if spec == "digits":
        from bench.data import digits

        return build(spec, digits.load(resolution, train, validation))
    if spec.startswith("images:"):
        from bench.data import images

        return images.load(spec.removeprefix("images:"), resolution, train, validation, cache, max_skipped)
    raise UserError(f"unknown dataset {spec!r}; {nearest(spec.partition(':')[0], SPECS)}")
