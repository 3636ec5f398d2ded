"""Small files of latents in the forms in which others store them, written from the descriptions of these forms."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

COUNT, SHAPE = 40, (4, 8, 8)


def means(count: int = COUNT) -> NDArray[np.float32]:
    """Raw latents, of a mean and deviation that are not 0 and 1."""
    return (0.5 + 2 * np.random.default_rng(0).standard_normal((count, *SHAPE))).astype(np.float32)


def deviations(count: int = COUNT) -> NDArray[np.float32]:
    """Standard deviations of latents."""
    return np.random.default_rng(1).uniform(0.1, 0.5, (count, *SHAPE)).astype(np.float32)


def classes(count: int = COUNT) -> list[int]:
    """The number of each latent's class, of three."""
    return [row % 3 for row in range(count)]


def npy(array: NDArray[Any]) -> bytes:
    """The bytes of an ``.npy``."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def edm2_members(count: int = COUNT) -> dict[str, bytes]:
    """The files that EDM2's tool writes."""
    both = np.concatenate([means(count), deviations(count)], axis=1)
    names = [f"00000/img-mean-std-{row:08d}.npy" for row in range(count)]
    members = {name: npy(array) for name, array in zip(names, both, strict=True)}
    labels = [list(pair) for pair in zip(names, classes(count), strict=True)]
    return {**members, "dataset.json": json.dumps({"labels": labels}).encode()}


def edm2_zip(file: Path, members: dict[str, bytes] | None = None) -> Path:
    """EDM2's uncompressed zip."""
    with zipfile.ZipFile(file, "w", compression=zipfile.ZIP_STORED) as made:
        for name, body in (edm2_members() if members is None else members).items():
            made.writestr(name, body)
    return file


def edm2_folder(folder: Path) -> Path:
    """The same as a folder."""
    for name, body in edm2_members().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


def lightningdit(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """LightningDiT's shards, of 25 and 15 rows, and its pickle of statistics."""
    folder.mkdir()
    values = torch.from_numpy(means()).to(dtype)
    for shard, rows in enumerate((slice(0, 25), slice(25, COUNT))):
        part = values[rows].contiguous()
        tensors = {"latents": part, "latents_flip": part.flip(-1).contiguous()}
        labels = torch.tensor(classes()[rows])
        file = folder / f"latents_rank00_shard{shard:03d}.safetensors"
        save_file({**tensors, "labels": labels}, file, {"total_size": str(len(part)), "dtype": str(dtype)})
    torch.save({"mean": 0}, folder / "latents_stats.pt")
    return folder


Columns = dict[str, tuple[str, int | None, list[bytes]]]
"""The encoding of each column, its fixed size, and the bytes of each row."""


def mds(folder: Path, columns: Columns, compression: str | None = None, shard: int = 16) -> Path:
    """A folder of MDS with so many rows a shard."""
    folder.mkdir()
    names = sorted(columns)
    count, entries = len(columns[names[0]][2]), []
    about = {
        "column_encodings": [columns[name][0] for name in names],
        "column_names": names,
        "column_sizes": [columns[name][1] for name in names],
    }
    for number, first in enumerate(range(0, count, shard)):
        rows = []
        for row in range(first, min(first + shard, count)):
            cells = [columns[name][2][row] for name in names]
            free = [len(cell) for cell, name in zip(cells, names, strict=True) if columns[name][1] is None]
            rows.append(np.array(free, "<u4").tobytes() + b"".join(cells))
        config = json.dumps(about).encode()
        begin = 4 + 4 * (len(rows) + 1) + len(config)
        ends = np.cumsum([begin, *map(len, rows)]).astype("<u4")
        raw = np.uint32(len(rows)).tobytes() + ends.tobytes() + config + b"".join(rows)
        name = f"shard.{number:05d}.mds"
        info = {"basename": name, "bytes": len(raw), "hashes": {}}
        entry = {**about, "format": "mds", "version": 2, "samples": len(rows), "hashes": []}
        packed, written = None, raw
        if compression:
            written = pa.compress(raw, "zstd", asbytes=True)
            packed = {"basename": f"{name}.zstd", "bytes": len(written), "hashes": {}}
        (folder / (packed or info)["basename"]).write_bytes(written)
        entries.append({**entry, "compression": compression, "raw_data": info, "zip_data": packed})
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": entries}))
    return folder


def eight_bits(width: float) -> tuple[NDArray[np.uint8], Columns]:
    """The columns of the public ImageNet latents as their script writes them, and the values."""
    clipped = np.clip(means(), -width / 2, width / 2)
    values = ((clipped / width + 0.5) * 255).astype(np.uint8)
    return values, {
        "vae_output": ("uint8", None, [each.tobytes() for each in values]),
        "label": ("str", None, [str(each).encode() for each in classes()]),
        "label_as_text": ("str", None, [f"thing {each}, item_{each}".encode() for each in classes()]),
    }
