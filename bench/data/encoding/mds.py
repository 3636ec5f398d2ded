"""MDS, the shards of MosaicML's ``streaming``, uncompressed or by zstd.

    index.json    for each shard its columns with their encodings, its files with sizes and hashes, the number of its rows
    a shard       uint32 n, uint32 begin of each row and end of the last, a copy of the columns, the rows
    a row         uint32 size of each column without a fixed one, then the columns

(https://docs.mosaicml.com/projects/streaming, "Dataset format"). The package itself is not needed: it asks for older
versions of NumPy and transformers than those of today. Pickled columns are never read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.encoding.latent_source import damaged
from flowbench._core import atomic
from flowbench._core.errors import UserError

INDEX = "index.json"
LARGEST = 1 << 32
"""Bytes of a shard, whose offsets have 32 bits."""
KINDS = {8: "uint8", 18: "float16", 34: "float32", 66: "float64"}
"""Types of arrays that carry theirs in their first byte."""


@dataclass
class Shard:
    """A file of rows by its entry ``about`` in the index."""

    folder: Path
    about: dict[str, Any]

    def file(self, kind: str = "raw") -> Path:
        """Its file, ``raw`` or ``zip``. Raises :class:`ValueError` for one outside the folder."""
        name = str(self.about[f"{kind}_data"]["basename"])
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{INDEX} names the file {name!r} outside its folder")
        return self.folder / name

    def bytes(self) -> NDArray[np.uint8]:
        """Its content, mapped or decompressed. Raises :class:`ValueError` if it is not what the index declares."""
        size, packed = int(self.about["raw_data"]["bytes"]), self.about.get("zip_data")
        kind = "zip" if packed and not self.file().is_file() else "raw"
        found: NDArray[np.uint8] = np.memmap(self.file(kind), np.uint8, "r")
        if len(found) != (declared := self.about[f"{kind}_data"])["bytes"] or size > LARGEST:
            raise ValueError(f"it has {len(found):,} bytes, and {declared['bytes']:,} in {INDEX}")
        for name, wanted in (declared.get("hashes") or {}).items():
            if name in hashlib.algorithms_available and hashlib.new(name, found.data).hexdigest() != wanted:
                raise ValueError(f"its {name} is not the one in {INDEX}")
        if kind == "zip":
            found = self._unpacked(found, size)
        head = found[: 4 * (self.about["samples"] + 2)].view("<u4").astype(np.int64)
        if head[0] != self.about["samples"] or head[-1] != size or (np.diff(head[1:]) < 0).any():
            raise ValueError(f"its rows are not those of {INDEX}")
        return found

    def _unpacked(self, packed: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
        import pyarrow as pa

        if not str(self.about["compression"]).startswith("zstd"):
            raise ValueError(f"it is compressed by {self.about['compression']}, read is zstd: decompress it")
        try:
            return np.frombuffer(pa.decompress(packed.tobytes(), size, "zstd"), np.uint8)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"it cannot be decompressed ({error})") from None


@dataclass
class Mds:
    """The rows of a folder; the shard that was read last stays at hand."""

    folder: Path
    shards: list[Shard]
    _open: tuple[int, NDArray[np.uint8]] | None = field(default=None, repr=False)

    @property
    def encodings(self) -> dict[str, str]:
        """The encoding of each column by its name."""
        about = self.shards[0].about
        return dict(zip(about["column_names"], about["column_encodings"], strict=True))

    @property
    def starts(self) -> list[int]:
        """The number of each shard's first row, and that of all rows."""
        return list(accumulate((shard.about["samples"] for shard in self.shards), initial=0))

    def names(self) -> list[str]:
        """A name for each row."""
        files = [(shard.about["raw_data"]["basename"], shard.about["samples"]) for shard in self.shards]
        return [f"{file} {row}" for file, count in files for row in range(count)]

    def cells(self, rows: Sequence[int], column: str) -> Iterator[bytes]:
        """The bytes of a column in rows, quickest in their order. Raises :class:`UserError` that names a damaged shard."""
        starts = np.array(self.starts)
        for row in rows:
            number = int(np.searchsorted(starts, row, side="right")) - 1
            shard = self.shards[number]
            try:
                if self._open is None or self._open[0] != number:
                    self._open = number, shard.bytes()
                yield cell(shard.about, self._open[1], row - int(starts[number]), column)
            except (OSError, KeyError, ValueError) as error:
                raise damaged(self.folder / str(shard.about["raw_data"]["basename"]), error) from None


def cell(about: dict[str, Any], data: NDArray[np.uint8], row: int, column: str) -> bytes:
    """The bytes of a column of a row. Raises :class:`ValueError` for a row that does not have the columns."""
    begin, end = data[4 * (row + 1) : 4 * (row + 3)].view("<u4").astype(np.int64).tolist()
    fixed = about["column_sizes"]
    after = begin + 4 * sum(not size for size in fixed)
    sizes = iter(data[begin:after].view("<u4").tolist() if after <= end else ())
    edges = list(accumulate((size or next(sizes, 0) for size in fixed), initial=after))
    if edges[-1] != end:
        raise ValueError(f"its row {row} does not have the columns of {INDEX}")
    place = about["column_names"].index(column)
    return data[edges[place] : edges[place + 1]].tobytes()


def opened(path: Path) -> Mds:
    """The rows of a folder. Raises :class:`UserError` for an index that is damaged, or not of MDS."""
    try:
        entries = atomic.read_object(path / INDEX, "")["shards"]
        if any(about["format"] != "mds" or about["version"] != 2 for about in entries):
            raise ValueError("read is the format mds in version 2")
        shards = [Shard(path, about) for about in entries if about["samples"]]
        made, facts = Mds(path, shards), {json_key(shard.about) for shard in shards}
        if len(facts) != 1 or not all(isinstance(shard.about["samples"], int) for shard in shards):
            raise ValueError("it has no rows" if not shards else "its shards differ in their columns")
        made.encodings, made.names()  # raise where something is absent
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"--latents {path / INDEX} is no index of MDS ({error})") from None
    return made


def json_key(about: dict[str, Any]) -> str:
    """The columns of a shard."""
    return repr([about[f"column_{what}"] for what in ("names", "encodings", "sizes")])


def ndarray(data: bytes, static: str) -> NDArray[Any]:
    """An array whose type and shape, ``float16:4,32,32``, are static, or at the beginning of the bytes."""
    kind, _, shape = static.partition(":")
    at = 0 if kind else 1
    kind = kind or KINDS[data[0]]
    sizes = [int(each) for each in shape.split(",")] if shape else []
    if not sizes:
        width, count = 1 << (data[at] & 3), data[at] >> 2
        sizes = np.frombuffer(data, f"<u{width}", count, at + 1).tolist()
        at += 1 + count * width
    return np.frombuffer(data, kind, offset=at).reshape(sizes)
