"""Where encoded captions lie next to latents, and what encoded them, as ``python -m bench.encode --text SPEC`` writes it.

    DIR/text-1a2b3c4d/text.json                     the encoder, its networks, the shards with their hashes
    DIR/text-1a2b3c4d/captions-00000.safetensors    :mod:`bench.encoders.caption_store`

The folder is named after the encoder's spec, so that training on ``encoded:DIR`` finds it without loading the encoder, which
need not be there. Where its files are, they are compared with those that the captions were encoded by. No torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.data.latent_store import Shard
from bench.encoders.encoder import TextPart, canonical, file_digests
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import many

INDEX, FORMAT = "text.json", 1
HALF = "-half"
"""Ends the name of an encoder whose states were kept in half precision."""


@dataclass(frozen=True)
class CaptionIndex:
    """``text.json``: the ``encoder``'s name with a digest of its weights, the ``spec`` that it was loaded by, and digests of
    its ``files`` by name (:func:`bench.encoders.encoder.file_digests`)."""

    folder: Path
    spec: str
    encoder: str
    files: Mapping[str, str]
    parts: tuple[TextPart, ...]
    shards: tuple[Shard, ...]

    @property
    def name(self) -> str:
        """The encoder's name, where its states are those of this folder."""
        return self.encoder + HALF

    @property
    def captions(self) -> int:
        """How many there are."""
        return sum(shard.rows for shard in self.shards)

    @property
    def described(self) -> str:
        """Its content in words."""
        return f"{many(self.captions, 'distinct caption')} encoded by {self.encoder}, in half precision"

    def write(self) -> None:
        """Write it: from then on its shards count."""
        kept = {name: value for name, value in asdict(self).items() if name != "folder"}
        atomic.write_json(self.folder / INDEX, {"format": FORMAT, **kept})

    def check_encoder(self) -> None:
        """Raise :class:`UserError` if a file of the encoder, or its plugin, has changed since the captions were encoded.

        Loads nothing, and passes over files that are not there any more.
        """
        for name, digest in file_digests(self.spec).items():
            if self.files.get(name) != digest:
                raise UserError(
                    f"{self.folder}: its captions were encoded by {self.encoder}, and {name} of --text {self.spec} has "
                    f"changed since: {command(self.folder, self.spec)} compares the encoder itself"
                )

    def check(self) -> None:
        """Read every shard and compare it with its hash. Raises :class:`UserError` for the first that is not as written."""
        for shard in self.shards:
            try:
                atomic.read_tensors(self.folder / shard.file)
                about = atomic.read_about(self.folder / shard.file)
            except atomic.Damaged:
                about = {}
            if about.get("sha256") != shard.sha256:
                raise UserError(
                    f"{self.folder / shard.file} is not as it was written: delete it, and {command(self.folder, self.spec)} "
                    f"encodes its captions again"
                )


def command(folder: Path, spec: str) -> str:
    """The command that makes a folder of encoded captions."""
    return f"`python -m bench.encode --text {spec} --out {folder.parent}`"


def folder_of(latents: Path, spec: str) -> Path:
    """The folder of captions encoded by ``spec`` next to latents."""
    return latents / f"text-{hashlib.sha256(canonical(spec).encode()).hexdigest()[:8]}"


def read(folder: Path) -> CaptionIndex:
    """The index of a folder of encoded captions. Raises :class:`UserError` if it is damaged or of another version."""
    kept = atomic.read_object(folder / INDEX)
    if kept.pop("format", None) != FORMAT:
        raise UserError(
            f"{folder / INDEX} was written by another version of flowbench: delete {folder}, and encode again"
        )
    try:
        shards = tuple(Shard(**shard) for shard in kept.pop("shards"))
        return CaptionIndex(folder, parts=parts_of(kept.pop("parts")), shards=shards, **kept)
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder / INDEX} is damaged ({type(error).__name__}: {error}): delete it and encode again"
        ) from None


def parts_of(kept: Sequence[Mapping[str, Any]]) -> tuple[TextPart, ...]:
    """The networks of an encoder as JSON holds them."""
    ranges = ("tokens", "channels", "pooled")
    return tuple(TextPart(each["name"], *(tuple(each[name]) for name in ranges)) for each in kept)


def every(latents: Path) -> list[CaptionIndex]:
    """All encoded captions next to latents that are complete."""
    return [read(file.parent) for file in sorted(latents.glob(f"text-*/{INDEX}"))]


def unfinished(latents: Path) -> list[Path]:
    """Folders of encoded captions next to latents that are not complete."""
    return [folder for folder in sorted(latents.glob("text-*")) if not (folder / INDEX).is_file()]


def find(latents: Path | None, spec: str) -> CaptionIndex | None:
    """The captions that ``spec`` encoded next to latents. Raises :class:`UserError` if they are incomplete, and as
    :meth:`CaptionIndex.check_encoder`."""
    if latents is None or not (folder := folder_of(latents, spec)).is_dir():
        return None
    if not (folder / INDEX).is_file():
        raise UserError(f"{folder}: not all captions are encoded: {command(folder, spec)} encodes the rest")
    index = read(folder)
    index.check_encoder()
    return index


def stored_for(folders: Sequence[Path | None], spec: str) -> bool:
    """Whether the captions of all of several datasets are there, so that the encoder is not needed."""
    return all(find(folder, spec) for folder in folders)
