"""The captions of a folder of latents (:mod:`bench.data.latent_store`): each distinct one once, and by number those of each
row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.data.latent_store import SIDES, Index, Side
from flowbench._core import atomic
from flowbench._core.errors import UserError

CAPTIONS, ROW_CAPTIONS = "captions.parquet", "rows.parquet"


def write_captions(folder: Path, sides: Mapping[Side, Sequence[Sequence[str]]]) -> dict[str, str]:
    """Write all captions of the rows of both sides, each distinct one once; returns the sha256 of each file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number: dict[str, int] = {}
    rows = [
        (side, [number.setdefault(caption, len(number)) for caption in several])
        for side in SIDES
        for several in sides[side]
    ]
    tables = {
        CAPTIONS: pa.table({"caption": list(number)}),
        ROW_CAPTIONS: pa.table(
            {"side": [side for side, _ in rows], "captions": [places for _, places in rows]}
        ),
    }
    for name, table in tables.items():
        atomic.write_whole(folder / name, partial(pq.write_table, table))
    return {name: sha256_of(folder / name) for name in tables}


def sha256_of(file: Path) -> str:
    """The sha256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def distinct_captions(folder: Path) -> list[str]:
    """The distinct captions of both sides, in a fixed order. Raises :class:`UserError` if they cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        texts: list[str] = pq.read_table(folder / CAPTIONS)["caption"].to_pylist()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise UserError(f"encoded:{folder}: its captions cannot be read ({error}): encode again") from None
    return texts


def read_captions(folder: Path, index: Index) -> dict[Side, list[tuple[str, ...]]]:
    """The captions of each row of both sides. Raises :class:`UserError` for files that are absent, damaged, or of other
    rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = distinct_captions(folder)
    try:
        rows = pq.read_table(folder / ROW_CAPTIONS).to_pydict()
    except (OSError, pa.ArrowException, KeyError) as error:
        raise UserError(f"encoded:{folder}: its captions cannot be read ({error}): encode again") from None
    found: dict[Side, list[tuple[str, ...]]] = {side: [] for side in SIDES}
    for side, places in zip(rows["side"], rows["captions"], strict=True):
        found[side].append(tuple(texts[place] for place in places))
    for side, given in found.items():
        if len(given) != (rows_of_side := sum(shard.rows for shard in index.shards[side])) or not all(given):
            raise UserError(
                f"encoded:{folder}: {ROW_CAPTIONS} has captions for {sum(map(bool, given)):,} of {rows_of_side:,} rows of "
                f"{side}: encode again"
            )
    return found


def check_tables(folder: Path, index: Index) -> None:
    """Read the captions, and compare their files with their hashes. Raises :class:`UserError` as :func:`read_captions`, and
    for the first file that is not as written."""
    read_captions(folder, index)
    for name, digest in index.tables.items():
        if sha256_of(folder / name) != digest:
            raise UserError(
                f"{folder / name} is not as it was written: the same `python -m bench.encode` command writes it again"
            )
