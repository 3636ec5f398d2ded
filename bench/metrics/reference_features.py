"""Features of the images that generated ones are compared with, kept in the user's cache: a second run extracts none.

A file of each set of images and extractor, named by a hash of what the features depend on. Workers share it; what two of
them write at once is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.config.identity import canonical
from bench.data import Dataset
from bench.data.images import cache_folder
from bench.encoders import Extractor, features
from flowbench._core import atomic


def reference_features(data: Dataset, extractor: Extractor, device: str) -> Tensor:
    """Features ``[N, D]`` of the validation images of a dataset: as an earlier run kept them, or extracted and kept."""
    images = data.validation.reference
    known_by = [data.name, data.digest, list(images.shape)]
    return kept(known_by, extractor, device, lambda: features(extractor, images))


def kept(known_by: Sequence[Any], extractor: Extractor, device: str, extract: Callable[[], Tensor]) -> Tensor:
    """Features of images that are ``known_by`` a digest among others, as they were kept, or extracted and kept."""
    where = file(known_by, extractor, device)
    with suppress(atomic.Damaged):  # not there, or cut short: it is written again
        found: Tensor = atomic.read_tensors(where)[0]["features"]
        return found
    found = extract()
    with suppress(OSError):  # a cache that cannot be written costs the next run an extraction
        atomic.folder(where.parent)
        atomic.write_tensors(where, {"features": found})
    return found


def file(known_by: Sequence[Any], extractor: Extractor, device: str) -> Path:
    """Where features are kept: by the images, the extractor with the digest of its weights, its preprocessing, and what
    rounding depends on."""
    network = [extractor.name, extractor.preprocessing, extractor.dim]
    key = canonical([list(known_by), network, torch.device(device).type, torch.__version__])
    return cache_folder(None) / "references" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.safetensors"
