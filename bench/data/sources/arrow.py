"""Data sets of Hugging Face: parquet files with the pictures' bytes, and folders of ``save_to_disk``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from . import classes
from .items import CAPTION_KEYS, FILE_KEYS, Item, Unreadable, captions_of, read_file, shown
from .tables import column, numbered

Column = Callable[[int], Any]
LABELS = ("label", "labels", "fine_label", "class")


def has_pictures(path: Path) -> bool:
    """Whether a file of Arrow or parquet holds the bytes of pictures."""
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        return True
    try:
        return _picture(pq.read_schema(path)) is not None
    except Exception:
        return True  # it is told about when its items are read


def belongs(path: Path) -> bool:
    """Whether a file is data: beside a ``state.json`` only those that it names are, others are left-overs of maps."""
    state = path.with_name("state.json")
    if path.suffix != ".arrow" or not state.is_file():
        return True
    try:
        return path.name in {part["filename"] for part in json.loads(state.read_text())["_data_files"]}
    except Exception:
        return True


def read(path: Path) -> tuple[list[Item], list[str]]:
    """The rows of one file: pictures are read when they are asked for, a group of rows at a time."""
    try:
        schema, captions, group = _parquet(path) if path.suffix == ".parquet" else _stream(path)
        found = [
            Item(f"{shown(path.name)} row {i}", words, problem, partial(_bytes, path, *where))
            for i, (words, problem, where) in enumerate(_rows(schema, captions, group), start=1)
        ]
        return found, []
    except Exception as error:
        kind = "parquet" if path.suffix == ".parquet" else "Arrow"
        return [Item(shown(path.name), problem=f"it cannot be read as {kind}: {error}")], []


Row = tuple[tuple[str, ...], str, tuple["Groups", int, int]]


class Groups:
    """The column of pictures, by groups of rows; one group is kept, for rows are read in their order."""

    def __init__(self, load: Callable[[int], Any]) -> None:
        self.load, self.lock = load, Lock()
        self.kept: dict[int, Any] = {}

    def __call__(self, group: int) -> Any:
        with self.lock:
            if group not in self.kept:
                while len(self.kept) > 1:
                    self.kept.pop(next(iter(self.kept)))
                self.kept[group] = self.load(group)
            return self.kept[group]


def _bytes(path: Path, groups: Groups, group: int, row: int) -> bytes:
    value = groups(group)[row].as_py()
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            return read_file(path.parent / value["path"])
        value = value.get("bytes")
    if isinstance(value, str):
        return read_file(path.parent / value)
    if not isinstance(value, bytes):
        raise Unreadable("it has no picture")
    return value


def _rows(schema: Any, words: list[Any], groups: tuple[Groups, list[int]]) -> Iterator[Row]:
    load, sizes = groups
    names = _label_names(schema)
    flat = ((g, r) for g, size in enumerate(sizes) for r in range(size))
    for value, (group, row) in zip(words, flat, strict=True):
        given = names(value) if names else value
        captions, problem = captions_of(given)
        yield captions, problem, (load, group, row)


def _parquet(path: Path) -> tuple[Any, list[Any], tuple[Groups, list[int]]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    picture, texts = _columns(file.schema_arrow)
    sizes = [file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups)]
    table = file.read(columns=texts)

    def load(group: int) -> Any:
        return file.read_row_group(group, columns=[picture]).column(0)

    return file.schema_arrow, _values(table, texts), (Groups(load), sizes)


def _stream(path: Path) -> tuple[Any, list[Any], tuple[Groups, list[int]]]:
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    try:
        table = pa.ipc.open_stream(mapped).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(mapped).read_all()
    picture, texts = _columns(table.schema)
    pictures = table.column(picture)
    return table.schema, _values(table, texts), (Groups(lambda _: pictures), [len(table)])


def _values(table: Any, texts: list[str]) -> list[Any]:
    """What a row says: the value of the one column, or the list of several."""
    columns = [table.column(name).to_pylist() for name in texts]
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=True)]


def _picture(schema: Any) -> str | None:
    """The column with the bytes of pictures: a struct with ``bytes``, or binary and called so."""
    import pyarrow as pa

    def holds(kind: Any) -> bool:
        struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        return bool(struct or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    names = [f.name for f in schema if holds(f.type)]
    return column(names, FILE_KEYS) or next(
        (n for n in names if pa.types.is_struct(schema.field(n).type)), None
    )


def _columns(schema: Any) -> tuple[str, list[str]]:
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
    return picture, texts


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

    def say(label: Any) -> Any:
        known = isinstance(label, int) and 0 <= label < len(names)
        return (
            [classes.caption(n.strip().replace("_", " ")) for n in names[label].split(",")] if known else None
        )

    return say
