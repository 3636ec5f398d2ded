"""From a path to the latents there: the form of the source chooses its reader."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from bench.data.encoding import edm2, lightningdit, mds_latents
from bench.data.encoding.latent_source import LatentSource, ReadingOptions
from flowbench._core.errors import UserError, nearest_path

READERS: tuple[ModuleType, ...] = lightningdit, mds_latents, edm2
"""Each has ``found(path)``, whether a path has its form, and ``read(path, options, channels)``."""


def find(path: Path, options: ReadingOptions, channels: int) -> LatentSource:
    """The latents at a path, of an autoencoder with so many channels. Raises :class:`UserError` if there are none."""
    if not path.exists():
        near = nearest_path(path, lambda each: True)
        raise UserError(f"--latents {path}: no such file or folder; {near}".rstrip("; "))
    for reader in READERS:
        if reader.found(path):
            source: LatentSource = reader.read(path, options, channels)
            return source
    raise UserError(
        f"--latents {path}: read are EDM2's .zip or folder with dataset.json, LightningDiT's .safetensors, and MDS with "
        f"index.json"
    )
