"""Full names of metrics: a name carries the recipe, and values of two recipes are never put in one ranking.

``clip[tinyclip-1a2b3c4d,native32,n=256]``: extractor with the digest of its weights, preprocessing, images
per value. ``fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]``: also the reference set, its
digest and its size.
"""

from __future__ import annotations

from bench.encoders.extractors import Extractor


def clip_name(extractor: Extractor, n: int) -> str:
    """Name of the CLIP score over ``n`` images (`bench.metrics.clip_score`)."""
    return f"clip[{_recipe(extractor)},n={n}]"


def fid_name(extractor: Extractor, reference: str, n_reference: int, n: int) -> str:
    """Name of the Frechet distance of ``n`` images to ``n_reference`` images of the data ``reference``
    (``name-digest``)."""
    return f"fid[{_recipe(extractor)},ref={_part(reference)}-{n_reference},n={n}]"


def kid_name(extractor: Extractor, reference: str, n_reference: int, n: int) -> str:
    """Name of the kernel distance, read as `fid_name`."""
    return f"kid[{_recipe(extractor)},ref={_part(reference)}-{n_reference},n={n}]"


def _recipe(extractor: Extractor) -> str:
    return f"{_part(extractor.name)},{_part(extractor.preprocessing)}"


def _part(text: str) -> str:
    if not text or any(c in text for c in ",[]"):
        raise ValueError(f"{text!r} cannot be part of a metric's name: it is empty or holds one of , [ ]")
    return text
