"""Where captioned images come from: a folder (.txt beside, or a CSV/JSONL), or WebDataset tar shards.

A :class:`Source` is found cheaply, by names, sizes and times; its items are listed only when needed.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samplers.errors import UserError, nearest

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"})
TABLE_SUFFIXES = frozenset({".csv", ".jsonl"})
FILE_KEYS = ("file", "file_name", "filename", "image", "image_path", "path")
CAPTION_KEYS = ("caption", "text", "prompt")


@dataclass(frozen=True)
class Item:
    """One image: its key (for the split), its caption or why there is none, and where its bytes lie."""

    key: str
    caption: str
    problem: str
    path: Path
    offset: int = 0
    size: int = -1  # -1: to the end of the file

    def read(self) -> bytes:
        """The encoded image."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Source:
    """A folder of images (``shards`` empty) or a list of tar shards; ``files`` are all that matter."""

    name: str
    root: Path
    files: tuple[Path, ...]
    shards: tuple[Path, ...] = ()

    def fingerprint(self) -> str:
        """A hash of every file's relative name, size and modification time."""
        facts = []
        for path in self.files:
            stat = path.stat()
            facts.append([path.relative_to(self.root).as_posix(), stat.st_size, stat.st_mtime_ns])
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def items(self) -> list[Item]:
        """All items in the order of their keys; those without a caption carry a ``problem``."""
        if self.shards:
            found = [item for shard in self.shards for item in _shard_items(shard)]
        else:
            found = list(_folder_items(self.root, self.files))
        return sorted(found, key=lambda item: item.key)


def find(text: str) -> Source:
    """The source that ``PATH`` of ``images:PATH`` names.

    Args:
        text: a folder of images or of ``.tar`` files, one ``.tar`` file, or a pattern of them with ``*``,
            ``?``, ``{00000..00031}`` or ``{a,b}``.

    Raises:
        UserError: nothing is there, it cannot be read, or it holds no images.
    """
    if not text.strip():
        raise UserError(
            "dataset 'images:' names no path; give a folder or .tar shards, e.g. images:data/photos"
        )
    path = Path(text).expanduser()
    if path.is_dir():
        return _find_in_folder(path.resolve())
    if path.is_file():
        if path.suffix != ".tar":
            raise UserError(f"images:{text} is neither a folder nor an uncompressed .tar shard")
        return Source(path.stem, path.resolve().parent, (path.resolve(),), (path.resolve(),))
    if re.search(r"[*?{\[]", text):
        return _find_by_pattern(text)
    if not path.parent.is_dir():
        raise UserError(f"images:{text}: no such file or folder; name one, e.g. images:data/photos")
    beside = sorted(p.name for p in path.parent.iterdir())
    raise UserError(f"images:{text}: no such file or folder; beside it, {nearest(path.name, beside)}")


def _find_in_folder(root: Path) -> Source:
    files: list[Path] = []
    try:
        for folder, _, names in os.walk(root, onerror=_raise):
            files += [Path(folder, name) for name in names if not name.startswith(".")]
    except OSError as error:
        raise UserError(f"images:{root} cannot be read: {error.strerror} ({error.filename})") from None
    files.sort()
    shards = tuple(f for f in files if f.suffix == ".tar")
    pictures = any(f.suffix.lower() in IMAGE_SUFFIXES for f in files)
    if shards and pictures:
        raise UserError(
            f"images:{root} holds both images and tar shards; name the shards: images:{root}/*.tar"
        )
    if shards:
        return Source(root.name, root, shards, shards)
    if not pictures:
        raise UserError(
            f"images:{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}) and no .tar shards"
        )
    kinds = IMAGE_SUFFIXES | TABLE_SUFFIXES | {".txt"}
    return Source(root.name, root, tuple(f for f in files if f.suffix.lower() in kinds))


def _raise(error: OSError) -> None:
    raise error


def _find_by_pattern(text: str) -> Source:
    matches = [Path(m).resolve() for p in expand_braces(text) for m in glob.glob(os.path.expanduser(p))]
    shards = tuple(sorted(set(matches)))
    if not shards:
        raise UserError(f"images:{text} matches no file")
    wrong = [s.name for s in shards if s.suffix != ".tar"]
    if wrong:
        raise UserError(f"images:{text} matches {wrong[0]}, which is not an uncompressed .tar shard")
    root = Path(os.path.commonpath([s.parent for s in shards]))
    return Source(root.name, root, shards, shards)


def expand_braces(text: str) -> list[str]:
    """``a-{08..11}`` to four strings, ``{a,b}`` to two; several braces multiply, other text stays."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}", text)
    if not match:
        return [text]
    low, high, words = match.groups()
    if words is not None:
        middle = words.split(",")
    else:
        width = len(low)
        middle = [str(n).zfill(width) for n in range(int(low), int(high) + 1)]
    tails = expand_braces(text[match.end() :])
    return [text[: match.start()] + m + tail for m in middle for tail in tails]


def _caption(raw: bytes | str) -> tuple[str, str]:
    """A caption on one line, and the problem with it."""
    try:
        text = raw.decode("utf-8-sig") if isinstance(raw, bytes) else raw
    except UnicodeDecodeError:
        return "", "its caption is not UTF-8"
    text = " ".join(text.split())
    return text, "" if text else "its caption is empty"


def _folder_items(root: Path, files: tuple[Path, ...]) -> Iterator[Item]:
    known = {f.relative_to(root).as_posix(): f for f in files}
    listed = set()
    for name, caption, problem, table in _table_rows(root, files):
        key = posixpath.normpath(name)
        listed.add(key)
        if key not in known and not problem:
            problem = f"named in {table}, but not in the folder"
        yield Item(key, caption, problem, root / key)
    for key, path in known.items():
        if path.suffix.lower() in IMAGE_SUFFIXES and key not in listed:
            beside = path.with_suffix(".txt")
            caption, problem = (
                _caption(beside.read_bytes()) if beside.is_file() else ("", "it has no caption")
            )
            yield Item(key, caption, problem, path)


def _table_rows(root: Path, files: tuple[Path, ...]) -> Iterator[tuple[str, str, str, str]]:
    """Rows (file, caption, problem, table name) of the one CSV or JSONL at the top of the folder, if any."""
    tables = [f for f in files if f.parent == root and f.suffix.lower() in TABLE_SUFFIXES]
    if len(tables) > 1:
        tables = [f for f in tables if f.stem == "metadata"] or tables
    if len(tables) > 1:
        names = ", ".join(f.name for f in tables)
        raise UserError(f"images:{root} holds several tables ({names}); keep one, or call one metadata.csv")
    for table in tables:
        for number, row in _read_table(table):
            place = f"{table.name} line {number}"
            if row is None:
                yield place, "", "it is not a JSON object", table.name
                continue
            keys = {str(k).strip().lower(): k for k in row}
            file, text = (_first(keys, wanted, row, table) for wanted in (FILE_KEYS, CAPTION_KEYS))
            name, words = row[file], row[text]
            caption, problem = _caption(words) if isinstance(words, str) else ("", "its caption is no text")
            yield (
                (name, caption, problem, table.name) if isinstance(name, str) else (place, "", "no file", "")
            )


def _read_table(table: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
        if table.suffix.lower() == ".csv":
            yield from enumerate(list(csv.DictReader(io.StringIO(text, newline=""))), start=2)
            return
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"images:{table} cannot be read as UTF-8 text: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                row = None
            yield number, row if isinstance(row, dict) else None


def _first(keys: dict[str, Any], wanted: tuple[str, ...], row: dict[str, Any], table: Path) -> Any:
    for name in wanted:
        if name in keys:
            return keys[name]
    found = ", ".join(str(k) for k in row) or "nothing"
    raise UserError(
        f"images:{table} has no column {wanted[0]!r} (or {', '.join(wanted[1:])}); found: {found}"
    )


def _shard_items(shard: Path) -> Iterator[Item]:
    """Items of one tar: members that share the name up to the first dot (the WebDataset convention)."""
    groups: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                if member.isfile() and stem:
                    members = groups.setdefault(posixpath.join(folder, stem), {})
                    members["." + suffix.lower()] = (member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"images:{shard} is truncated, compressed or no tar file: {error}") from None
    for key, members in groups.items():
        pictures = [where for suffix, where in members.items() if suffix in IMAGE_SUFFIXES]
        if pictures:
            caption, problem = _shard_caption(shard, members)
            yield Item(f"{shard.name}/{key}", caption, problem, shard, *pictures[0])


def _shard_caption(shard: Path, members: dict[str, tuple[int, int]]) -> tuple[str, str]:
    def read(suffix: str) -> bytes:
        return Item("", "", "", shard, *members[suffix]).read()

    for suffix in (".txt", ".caption"):
        if suffix in members:
            return _caption(read(suffix))
    try:
        record = json.loads(read(".json")) if ".json" in members else {}
    except ValueError:
        return "", "its .json is not JSON"
    words = [record[k] for k in CAPTION_KEYS if k in record] if isinstance(record, dict) else []
    return _caption(words[0]) if words and isinstance(words[0], str) else ("", "it has no caption")
