"""Data sets of Hugging Face: parquet files with the pictures' bytes, and folders of ``save_to_disk``."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from bench.data.sources import classes
from bench.data.sources.items import CAPTION_KEYS, FILE_KEYS, Item, Unreadable, captions_of, read_file, shown
from bench.data.sources.tables import column, numbered

AT_ONCE = 64
"""Rows of a parquet file in memory at once, or a few more."""
OPEN = 4
"""Parquet files open at once."""
SHARDS = ("jpg", "jpeg", "png", "webp")
"""Columns of pictures in tables made of WebDataset shards."""
LABELS = ("label", "labels", "fine_label", "class")


def has_pictures(path: Path) -> bool:
    """Whether a file of Arrow or parquet holds the bytes of pictures."""
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        return True
    try:
        return _picture(pq.read_schema(path)) is not None
    except Exception:
        return True  # an item will name the problem


def belongs(path: Path) -> bool:
    """Whether a file is data: next to a ``state.json`` only those that it names are, others are left-overs of maps."""
    state = path.with_name("state.json")
    if path.suffix != ".arrow" or not state.is_file():
        return True
    try:
        return path.name in {part["filename"] for part in json.loads(state.read_text())["_data_files"]}
    except Exception:
        return True


def read(path: Path, second: str = "") -> tuple[list[Item], list[str]]:
    """The rows of one file: pictures are read when they are asked for, :data:`AT_ONCE` rows at a time."""
    try:
        read = _parquet if path.suffix == ".parquet" else _stream
        schema, words, pictures = read(path, second)
        found = [
            Item(f"{shown(path.name)} row {i + 1}", captions, problem, partial(_bytes, path, pictures, i))
            for i, (captions, problem) in enumerate(_captions(schema, words, second))
        ]
        return found, []
    except Exception as error:
        kind = "parquet" if path.suffix == ".parquet" else "Arrow"
        return [Item(shown(path.name), problem=f"it cannot be read as {kind}: {error}")], []


class Parquet:
    """The column of pictures of a parquet file, by row.

    Meant to be read in about the order of the rows: memory holds the last :data:`AT_ONCE` rows or a few more and one page of
    the file, however long a group of rows is. At most :data:`OPEN` files are open: a data set may have thousands.
    """

    _lock: ClassVar[Lock] = Lock()
    _open: ClassVar[deque[Parquet]] = deque()

    def __init__(self, path: Path, column: str, sizes: list[int]) -> None:
        self.path, self.column = path, column
        self.starts = [0, *accumulate(sizes)]
        self.close()

    def close(self) -> None:
        """Let go of the file and of what is kept of it."""
        self.file: Any = None
        self.kept: deque[tuple[int, Any]] = deque()
        self.batches: Iterator[Any] = iter(())
        self.group, self.after = -1, 0

    def __getitem__(self, row: int) -> Any:
        with self._lock:
            while True:
                for first, values in self.kept:
                    if first <= row < first + len(values):
                        return values[row - first]
                self._read(row)

    def _read(self, row: int) -> None:
        """Keep the next rows of a group: ``row`` is in them, or comes later."""
        group = bisect_right(self.starts, row) - 1
        if group != self.group or row < self.after:
            self._opened()
            self.batches = self.file.iter_batches(AT_ONCE, [group], [self.column])
            self.group, self.after = group, self.starts[group]
        try:
            values = next(self.batches).column(0)
        except StopIteration:  # after a fault in this group
            raise Unreadable("its part of the file cannot be read") from None
        self.kept.append((self.after, values))
        self.after += len(values)
        while sum(len(each) for _, each in self.kept) - len(self.kept[0][1]) >= AT_ONCE:
            self.kept.popleft()

    def _opened(self) -> None:
        import pyarrow.parquet as pq

        if self.file is None:
            self.file = pq.ParquetFile(self.path, memory_map=True)  # else a group's column is read at once
            self._open.append(self)
            while len(self._open) > OPEN:
                self._open.popleft().close()


def _bytes(path: Path, pictures: Any, row: int) -> bytes:
    value = pictures[row].as_py()
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            return read_file(path.parent / value["path"])
        value = value.get("bytes")
    if isinstance(value, str):
        return read_file(path.parent / value)
    if not isinstance(value, bytes):
        raise Unreadable("it has no picture")
    return value


def _captions(schema: Any, words: list[Any], second: str) -> Iterator[tuple[tuple[str, ...], str]]:
    names = _label_names(schema)
    for value in words:
        if names:
            value = [names(value[0]), *value[1:]] if second else names(value)
        yield captions_of(value)


def _parquet(path: Path, second: str) -> tuple[Any, list[Any], Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        picture, texts = _columns(file.schema_arrow, second)
        sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
        return file.schema_arrow, _values(file.read(columns=texts), texts), Parquet(path, picture, sizes)


def _stream(path: Path, second: str) -> tuple[Any, list[Any], Any]:
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(mapped).read_all()
    picture, texts = _columns(table.schema, second)
    return table.schema, _values(table, texts), table.column(picture)


def _values(table: Any, texts: list[str]) -> list[Any]:
    """The caption of each row: the value of the one column, or the list of several."""
    columns = [table.column(name).to_pylist() for name in texts]
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


def _picture(schema: Any) -> str | None:
    """The column with the bytes of pictures: a struct with ``bytes``, or binary and called so."""
    import pyarrow as pa

    def holds(kind: Any) -> bool:
        struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        return bool(struct or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    names = [f.name for f in schema if holds(f.type)]
    return column(names, (*FILE_KEYS, *SHARDS)) or next(
        (n for n in names if pa.types.is_struct(schema.field(n).type)), None
    )


def _columns(schema: Any, second: str = "") -> tuple[str, list[str]]:
    """The column of pictures and those of captions, or of labels that have names. Raises Unreadable."""
    picture, names = _picture(schema), [n for n in schema.names if n != _picture(schema)]
    if picture is None:
        raise Unreadable(f"no column holds pictures; found: {', '.join(schema.names)}")
    text = column(names, CAPTION_KEYS)
    texts = [text] if text else numbered(names)
    if not texts:
        texts = [n for n in names if n.lower() in LABELS and n in _class_names(schema)][:1]
    if not texts:
        raise Unreadable(
            f"no column 'caption' (or {', '.join(CAPTION_KEYS[1:])}); found: {', '.join(schema.names)}"
        )
    if second and second not in names:
        raise Unreadable(f"no column {second!r}; found: {', '.join(schema.names)}")
    return picture, [*texts, *([second] if second and second not in texts else [])]


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the classes by column of labels, from what ``datasets`` writes into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            c: f["names"] for c, f in features.items() if f.get("_type") == "ClassLabel" and f.get("names")
        }
    except Exception:
        return {}


def _label_names(schema: Any) -> Callable[[Any], Any] | None:
    texts = _columns(schema)[1]
    names = _class_names(schema).get(texts[0])
    if names is None:
        return None

    def named(label: Any) -> Any:
        known = isinstance(label, int) and 0 <= label < len(names)
        return (
            [classes.caption(n.strip().replace("_", " ")) for n in names[label].split(",")] if known else None
        )

    return named
