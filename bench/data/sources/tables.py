"""Tables of captions as people have them: CSV, TSV, JSON lines, JSON, and lists as Flickr's."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.data.sources.items import CAPTION_KEYS, FILE_KEYS, captions_of, read_file
from bench.data.sources.listing import PICTURES, suffix
from flowbench._core.errors import UserError

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".token"})
LARGEST_TABLE = 1 << 30
"""Most bytes of a table."""
_NUMBERED = re.compile(r"(caption|text|sentence)_?\d+")
_LISTED = re.compile(r"^(?P<name>[^\t]+?)(?:#\d+\s*[\t,| ]|\t|,)(?P<caption>.*)$")


@dataclass(frozen=True)
class Row:
    """A picture's name as it stands in a table, or the row's place if it is not ``named``, and its captions."""

    name: str
    captions: tuple[str, ...] = ()
    problem: str = ""
    named: bool = True


@dataclass(frozen=True)
class Table:
    """The rows of a file. ``catalogue``: it lists a whole data set, so pictures that are not there are no fault."""

    rows: list[Row]
    catalogue: bool = False


def is_table(name: str) -> bool:
    """Whether a file may be a table by its name: its ending, or that of Flickr's lists."""
    base = name.rpartition("/")[2].lower()
    listed = base.endswith(".txt") and (base.startswith("captions") or base.endswith(".token.txt"))
    return suffix(name) in TABLES or listed


def read_table(path: Path, second: str = "") -> Table | None:
    """The rows of a table; None if it is a JSON or parquet file about something else. ``second`` is one more column of
    captions.

    Raises:
        UserError: it cannot be read, or a table of lines has no column of files or captions, or no such second one.
    """
    kind = path.suffix.lower()
    if kind == ".parquet":
        return _parquet(path, second)
    try:
        raw = read_file(path, most=LARGEST_TABLE)
    except Exception as error:
        raise UserError(f"images:{path} cannot be read: {error}") from None
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = raw.decode("utf-16" if wide else "utf-8-sig", "replace" if wide else "surrogateescape")
    if kind == ".json":
        return _json(path, text, second)
    if kind in (".jsonl", ".ndjson"):
        return Table(list(_json_lines(path, text, second)))
    try:
        return Table(list(_columns(path, text, second)))
    except csv.Error as error:
        raise UserError(f"images:{path} cannot be read as a table: {error}") from None


def _columns(path: Path, text: str, second: str) -> Iterator[Row]:
    """Rows of text in columns, divided by whatever divides the names of its first line."""
    kind = path.suffix.lower()
    first = text.lstrip().partition("\n")[0]
    usual = "\t" if kind == ".tsv" else ","
    for delimiter in (usual, ",", "\t", ";", "|"):
        header = next(csv.reader([first], delimiter=delimiter), [])
        if column(header, FILE_KEYS) and (column(header, CAPTION_KEYS) or numbered(header)):
            break
    else:
        if kind in (".txt", ".token"):
            check_second(second, (), path)
            yield from _list(path, text)
            return
        delimiter = usual
    reader = csv.DictReader(io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter)
    check_second(second, reader.fieldnames or (), path)
    for number, row in enumerate(reader, start=2):
        cells = {k: v for k, v in row.items() if k is not None}
        if any(isinstance(v, str) and v.strip() for v in cells.values()):
            yield row_of(cells, path, f"{path.name} line {number}", second)


def _list(path: Path, text: str) -> Iterator[Row]:
    """Lines ``name.jpg#0<tab>caption`` or ``name.jpg,caption``."""
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LISTED.match(line)
        if found and suffix(found["name"].strip()) in PICTURES:
            captions, problem = captions_of(found["caption"])
            yield Row(found["name"].strip(), captions, problem)
        elif line.strip():
            yield Row(f"{path.name} line {number}", problem="it is no line 'picture, caption'", named=False)


def _json_lines(path: Path, text: str, second: str) -> Iterator[Row]:
    """One object a line. Raises UserError if none has the columns."""
    lines = [(f"{path.name} line {n}", line) for n, line in enumerate(text.split("\n"), start=1)]
    parsed = [(place, _object(line)) for place, line in lines if line.strip()]
    objects = [row for _, row in parsed if row is not None]
    if objects and not any(_usable(row) for row in objects):
        row_of(objects[0], path, "", second)
    check_second(second, (name for row in objects for name in row), path)
    for place, row in parsed:
        if row is None:
            yield Row(place, problem="it is not a JSON object", named=False)
        elif _usable(row):
            yield row_of(row, path, place, second)
        else:
            yield Row(place, problem="it lacks a file or a caption", named=False)


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _json(path: Path, text: str, second: str) -> Table | None:
    """COCO's annotations, a list of objects (also under ``images`` or ``data``), or captions by file name."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(whole, dict) and isinstance(whole.get("annotations"), list) and "images" in whole:
        check_second(second, (), path)
        return _coco(whole)
    listed = whole if isinstance(whole, list) else _member(whole)
    if listed is not None:
        rows = [row for row in listed if isinstance(row, dict) and _usable(row)]
        if not rows:
            return None
        check_second(second, (name for row in rows for name in row), path)
        return Table([row_of(row, None, "", second) for row in rows], catalogue=listed is not whole)
    if isinstance(whole, dict) and any(suffix(name) in PICTURES for name in whole):
        check_second(second, (), path)
        return Table([Row(name, *captions_of(words)) for name, words in whole.items()])
    return None


def _member(whole: Any) -> list[Any] | None:
    members = [whole.get(k) for k in ("images", "data", "annotations")] if isinstance(whole, dict) else []
    return next((m for m in members if isinstance(m, list)), None)


def _coco(whole: dict[str, Any]) -> Table | None:
    """Captions by image, in the order of the file (cocodataset.org, "Data format", captions)."""
    captions: dict[Any, list[Any]] = {}
    for note in whole["annotations"]:
        if isinstance(note, dict) and "caption" in note:
            captions.setdefault(str(note.get("image_id")), []).append(note["caption"])
    pictures = whole["images"] if isinstance(whole["images"], list) else []
    rows = [
        Row(str(p["file_name"]), *captions_of(captions.get(str(p.get("id")))))
        for p in pictures
        if isinstance(p, dict) and "file_name" in p
    ]
    return Table(rows, catalogue=True) if captions and rows else None


def _parquet(path: Path, second: str) -> Table | None:
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
        file = column(names, FILE_KEYS)
        columns = [n for n in (column(names, CAPTION_KEYS), *numbered(names)) if n]
        if not file or not columns:
            return None
        check_second(second, names, path)
        columns += [second] if second and second not in columns else []
        rows = pq.read_table(path, columns=[file, *columns]).to_pylist()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"images:{path} cannot be read: {error}") from None
    return Table([row_of(row, path, f"{path.name} row {i}", second) for i, row in enumerate(rows, start=1)])


def _usable(row: Mapping[str, Any]) -> bool:
    names = [str(k) for k in row]
    return bool(column(names, FILE_KEYS)) and bool(column(names, CAPTION_KEYS) or numbered(names))


def row_of(row: Mapping[str, Any], path: Path | None, place: str, second: str = "") -> Row:
    """The picture and the captions of one row. Raises UserError if the table lacks their columns."""
    names = [str(k) for k in row]
    file, text, more = column(names, FILE_KEYS), column(names, CAPTION_KEYS), numbered(names)
    for wanted, there in ((FILE_KEYS, file), (CAPTION_KEYS, text or more)):
        if not there:
            raise UserError(
                f"images:{path} has no column {wanted[0]!r} (or {', '.join(wanted[1:])}); "
                f"found: {', '.join(names) or 'nothing'}"
            )
    name = row[file] if file else None
    if not isinstance(name, str) or not name.strip():
        return Row(place, problem="it names no file", named=False)
    folder = row.get("filepath") if file != "filepath" else None
    found = [row[text]] if text else [row[k] for k in more]
    captions, problem = captions_of([*found, *([row[second]] if row.get(second) else [])])
    return Row(f"{folder}/{name}" if isinstance(folder, str) and folder else name, captions, problem)


def check_second(second: str, names: Iterable[str], path: Path | str) -> None:
    """Raise :class:`UserError` if there is no such column of captions."""
    names = list(dict.fromkeys(names))
    if second and second not in names:
        raise UserError(f"images:{path} has no column {second!r}; found: {', '.join(names) or 'nothing'}")


def column(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """The first of ``wanted`` among the names, without their case and blanks."""
    known = {n.strip().lower(): n for n in reversed(names)}
    return next((known[w] for w in wanted if w in known), None)


def numbered(names: list[str]) -> list[str]:
    """Columns ``caption_0``, ``caption_1``, ..."""
    return [n for n in names if _NUMBERED.fullmatch(n.strip().lower())]
