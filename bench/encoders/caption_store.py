"""Encoded captions on disk: written shard by shard, mapped into memory where they do not fit on the device.

A shard of :data:`ROWS` captions has of each network of the encoder (:mod:`bench.encoders.ragged_captions`)
``NAME.values [T, channels]`` in half precision and ``NAME.lengths [n]``; ``pooled [n, D]`` in single precision; ``cut [n]``,
1 for captions longer than the encoder reads; and ``unknown [n]``, 1 for those mostly outside of its vocabulary, absent in
shards that were written without. The captions themselves are in its header.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.data.encoding.write_latents import LARGEST, Part
from bench.data.images import LEFT_SECONDS
from bench.data.latent_store import Shard
from bench.data.mapped_tensors import header_end, layout, mapped
from bench.encoders import caption_index
from bench.encoders.caption_index import CaptionIndex
from bench.encoders.encoder import (
    TextEncoder,
    TextPart,
    canonical,
    count_unknown,
    file_digests,
    text_encoder,
    text_parts,
)
from bench.encoders.ragged_captions import Ragged
from bench.encoders.text import Captions, encode, placed, unread
from flowbench._core import atomic
from flowbench._core.errors import UserError

log = logging.getLogger(__name__)
ROWS, BATCH = 512, 64
"""Captions of a shard, and as many as are encoded at once."""


@dataclass(frozen=True)
class EncodedText:
    """The captions of a dataset for training: encoded by ``name``, which reads ``cut`` of them not to the end, while
    ``unknown`` are mostly outside of its vocabulary."""

    captions: Captions
    name: str
    cut: int
    unknown: int


def encoded(spec: str, texts: Sequence[str], device: torch.device, latents: Path | None) -> EncodedText:
    """The captions ``texts``, from disk if ``spec`` has encoded them next to the ``latents``, else by the encoder.

    Raises :class:`UserError` for weights that are absent, and for captions that are not among those on disk.
    """
    index = caption_index.find(latents, spec)
    if index is None:
        encoder = text_encoder(spec, str(device))
        known = caption_index.every(latents) if latents else []
        index = next(
            (each for each in known if each.encoder == encoder.name), None
        )  # its weights lay elsewhere
        if index is None:
            distinct = set(texts)
            cut, unknown = encoder.cut(distinct), count_unknown(encoder, distinct)
            return EncodedText(encode(encoder, texts, device), encoder.name, cut, unknown)
    shards, rows, reading = list[Ragged](), dict[str, int](), list[Tensor]()
    for shard in index.shards:
        captions, ragged, counts = read_shard(index, shard)
        rows |= {caption: len(rows) + place for place, caption in enumerate(captions)}
        reading.append(counts)
        shards.append(ragged)
    wanted = dict.fromkeys(texts)
    if (absent := next((text for text in wanted if text not in rows), None)) is not None:
        raise UserError(
            f"{index.folder}: the caption {absent!r} is not among the encoded ones: "
            f"{caption_index.command(index.folder, index.spec)} encodes it"
        )
    found = placed(shards, {text: rows[text] for text in wanted}, device)
    cut, unknown = torch.cat(reading)[[rows[text] for text in wanted]].sum(0).tolist()
    return EncodedText(found, index.name, cut, unknown)


def remarks(index: CaptionIndex) -> list[str]:
    """How many captions the encoder does not read to the end, or hardly, a line each."""
    cut, unknown = torch.cat([read_shard(index, shard)[2] for shard in index.shards]).sum(0).tolist()
    return unread(cut, unknown, index.captions, index.encoder)


def read_shard(index: CaptionIndex, shard: Shard) -> tuple[list[str], Ragged, Tensor]:
    """The captions of a shard, mapped into memory, and which of them were cut, and which are mostly unknown, 0 or 1
    ``[n, 2]``. Raises :class:`UserError` for a file that is absent, cut short, or another one."""
    file = index.folder / shard.file
    if (kept := whole(file)) is None or kept["sha256"] != shard.sha256:
        raise UserError(
            f"{file} is absent, cut short, or not the one of {caption_index.INDEX}: copy it again, or delete it, and "
            f"{caption_index.command(index.folder, index.spec)} encodes its captions again"
        )
    tensors = {name: torch.from_numpy(array) for name, array in mapped(file).items()}
    values, lengths = (
        tuple(tensors[f"{part.name}.{what}"] for part in index.parts) for what in ("values", "lengths")
    )
    cut = tensors["cut"]
    counts = torch.stack([cut, tensors.get("unknown", torch.zeros_like(cut))], dim=1)
    return kept["captions"], Ragged(index.parts, values, lengths, tensors["pooled"]), counts


def write(latents: Path, spec: str, texts: Sequence[str], device: str, part: Part) -> CaptionIndex | None:
    """Encode the shards of a part that are not there yet; with all shards there, write the index.

    Returns the index, or None if shards of other parts are not there yet. Raises :class:`UserError` for states that half
    precision cannot hold.
    """
    files = file_digests(spec)  # before it is loaded: a change from now on is seen
    encoder, folder = text_encoder(spec, device), caption_index.folder_of(latents, spec)
    held = caption_index.read(folder) if (folder / caption_index.INDEX).is_file() else None
    if held and held.encoder != encoder.name:
        raise UserError(
            f"{folder} holds {held.described}, and --text {spec} is {encoder.name} now: delete that folder"
        )
    atomic.folder(folder)
    atomic.sweep(folder, LEFT_SECONDS)
    groups = [list(texts[i : i + ROWS]) for i in range(0, len(texts), ROWS)]
    began, done = time.monotonic(), 0
    for number, captions in enumerate(groups):
        file = shard_file(folder, number)
        if number % part.count != part.index or finished(file, encoder, captions):
            continue
        parts, tensors = encode_shard(encoder, captions)
        about = {
            "recipe": recipe_of(encoder, captions),
            "captions": captions,
            "parts": [asdict(each) for each in parts],
        }
        atomic.write_tensors(file, tensors, about)
        done += len(captions)
        rate = done / (time.monotonic() - began)
        log.info("%s: %s captions, %.1f a second", file.name, f"{done:,}", rate)
    return finish(folder, spec, encoder, files, groups)


def finish(
    folder: Path, spec: str, encoder: TextEncoder, files: Mapping[str, str], groups: Sequence[Sequence[str]]
) -> CaptionIndex | None:
    """Write the index if every shard is there, and return it."""
    shards, parts = [], tuple[TextPart, ...]()
    for number, captions in enumerate(groups):
        file = shard_file(folder, number)
        if (kept := finished(file, encoder, captions)) is None:
            return None
        shards.append(Shard(file.name, len(captions), kept["sha256"]))
        parts = caption_index.parts_of(kept["parts"])
    index = CaptionIndex(folder, canonical(spec), encoder.name, files, parts, tuple(shards))
    index.write()
    return index


def recipe_of(encoder: TextEncoder, captions: Sequence[str]) -> str:
    """Names all that decides a shard; one of another recipe is written anew."""
    return hashlib.sha256(
        json.dumps([caption_index.FORMAT, encoder.name, list(captions)]).encode()
    ).hexdigest()[:16]


def shard_file(folder: Path, number: int) -> Path:
    """The file of a shard."""
    return folder / f"captions-{number:05d}.safetensors"


def finished(file: Path, encoder: TextEncoder, captions: Sequence[str]) -> dict[str, Any] | None:
    """What is in the header of a shard of that recipe that is whole; None if it has to be written."""
    kept = whole(file)
    return kept if kept and kept.get("recipe") == recipe_of(encoder, captions) else None


def whole(file: Path) -> dict[str, Any] | None:
    """What is in the header of a shard that is there to its last byte; None without one."""
    try:
        about = atomic.read_about(file)
        header, start = layout(file)
    except (atomic.Damaged, OSError, ValueError):
        return None
    return about if file.stat().st_size == start + header_end(header) else None


@torch.no_grad()
def encode_shard(
    encoder: TextEncoder, captions: Sequence[str]
) -> tuple[tuple[TextPart, ...], dict[str, Tensor]]:
    """The networks of the encoder, and the tensors of a shard."""
    found = []
    for i in range(0, len(captions), BATCH):
        tokens, pooled = encoder.encode_text(some := captions[i : i + BATCH])
        parts = text_parts(encoder, tokens, pooled)
        check_range(encoder, some, tokens, pooled)
        found.append(Ragged.of(parts, tokens.half(), pooled))
    made = Ragged.cat(found)
    tensors = {
        "pooled": made.pooled,
        "cut": torch.tensor([encoder.cut([c]) for c in captions], dtype=torch.uint8),
        "unknown": torch.tensor([count_unknown(encoder, [c]) for c in captions], dtype=torch.uint8),
    }
    for part, values, lengths in zip(parts, made.values, made.lengths, strict=True):
        tensors |= {f"{part.name}.values": values, f"{part.name}.lengths": lengths}
    return parts, tensors


def check_range(encoder: TextEncoder, captions: Sequence[str], tokens: Tensor, pooled: Tensor) -> None:
    """Raise :class:`UserError` for states that half precision cannot hold."""
    fits = (tokens.abs() <= LARGEST).all(dim=(1, 2)) & pooled.isfinite().all(dim=1)
    if not bool(fits.all()):
        raise UserError(
            f"{encoder.name} gives states that are not finite or too large for half precision for "
            f"{captions[int(fits.int().argmin())]!r}: they cannot be kept"
        )
