"""A folder of pictures with captions: in tables, in files next to them, or in the names of class folders."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.data.sources import classes
from bench.data.sources.items import LARGEST_TEXT, Item, Unreadable, captions_of, read_file, shown
from bench.data.sources.listing import PICTURES, Listing, listing, suffix
from bench.data.sources.places import folders_of, parts_of, resolve
from bench.data.sources.tables import Table, is_table, read_table
from flowbench._core.errors import UserError

TEXTS = (".txt", ".caption", ".json")
READ = (
    "a .txt, .caption or .json next to each picture; a table (CSV, TSV, JSON lines, JSON, parquet) of files and captions; "
    "COCO's captions_*.json; Flickr's captions.txt; folders named after classes"
)
Pieces = dict[str, dict[str, str]]


def outside(root: Path) -> list[Path]:
    """Files next to a folder that describe its pictures: COCO's captions and the names of classes."""
    folders = [root.parent, root.parent / "annotations", root.parent.parent / "annotations"]
    coco = [
        f
        for folder in folders
        if folder.is_dir()
        for f in sorted(folder.glob("captions*.json"))
        if f.is_file()
    ]
    return [*(f for f in coco if root not in f.parents), *classes.names_files(root)]


class Folder:
    """The pictures below a folder, each with the captions that are found for it."""

    def __init__(self, there: Listing, second: str = "") -> None:
        self.there, self.root, self.second = there, there.root, second
        self.pictures = there.ending(PICTURES)
        self.adjacent = self._adjacent()
        self.notes: list[str] = []

    def items(self) -> list[Item]:
        """Every picture once, and every row of a table that leads to none.

        Raises:
            UserError: there are no captions at all, or a table cannot be read.
        """
        rows, lost = self._listed()
        if self.second and not rows:
            raise UserError(
                f"images:{self.root}: second={self.second} is a column of a table, and there is no table"
            )
        items = [Item(shown(name), problem=why) for name, why in self.there.odd.items()]
        for name in dict.fromkeys([*self.pictures, *rows]):
            captions, problem = rows[name] if name in rows else self._words(name)
            items.append(self._item(name, captions, problem))
        if not any(item.captions for item in items):
            named = self._classes()
            if not named and not lost:
                raise UserError(
                    f"images:{self.root}: no picture has a caption; it holds {self.there.describe()}; read are {READ}"
                )
            if named:
                return [*items[: len(self.there.odd)], *named]
        return [*items, *lost]

    def _item(self, name: str, captions: tuple[str, ...], problem: str) -> Item:
        return Item(shown(name), captions, problem, partial(read_file, self.there.files[name]))

    def _adjacent(self) -> Pieces:
        """Files of captions by the name that they share with a picture, ``a`` or ``a.jpg`` of ``a.jpg``."""
        found: Pieces = defaultdict(dict)
        for name in self.there.ending(TEXTS):
            found[os.path.splitext(name)[0]][suffix(name)] = self.there.files[name]
        return found

    def _words(self, name: str) -> tuple[tuple[str, ...], str]:
        """The captions of a picture in the files next to it, or why there are none."""
        for stem in (os.path.splitext(name)[0], name):
            for kind in TEXTS:
                if kind in self.adjacent.get(stem, ()):
                    return words_in(partial(read_file, self.adjacent[stem][kind], most=LARGEST_TEXT), kind)
        return (), "it has no caption"

    def _listed(self) -> tuple[dict[str, tuple[tuple[str, ...], str]], list[Item]]:
        """Captions by picture as the tables give them, and the rows that lead to no picture."""
        stems = Counter(os.path.splitext(name)[0] for name in self.pictures)
        alone = {
            parts_of(stem): name for name in self.pictures if stems[stem := os.path.splitext(name)[0]] == 1
        }
        files = alone | {
            parts_of(name): name for name in self.there.files
        }  # a name without its ending is one too
        paths = [parts_of(name) for name in self.pictures]
        rows: dict[str, tuple[tuple[str, ...], str]] = {}
        lost: list[Item] = []
        for label, path, table in self._tables():
            found = resolve((r.name for r in table.rows if r.named), files, folders_of(paths, label))
            named = [row.name for row in table.rows if row.named]
            if named and self.pictures and not found and not table.catalogue:
                raise UserError(
                    f"images:{self.root}: none of the pictures that {path.name} names is there: it has "
                    f"{shown(named[0])}, and the folder {shown(self.pictures[0])}"
                )
            for row in table.rows:
                if row.named and row.name in found:
                    before, problem = rows.get(found[row.name], ((), ""))
                    together = tuple(dict.fromkeys([*before, *row.captions]))
                    rows[found[row.name]] = together, "" if together else problem or row.problem
                elif not table.catalogue:
                    missing = f"named in {path.name}, but not in the folder"
                    lost.append(Item(shown(row.name), problem=row.problem or missing))
            absent = len(table.rows) - sum(row.name in found for row in table.rows)
            if table.catalogue and found and absent:
                self.notes.append(
                    f"{absent:,} of the {len(table.rows):,} pictures in {path.name} are not in the folder"
                )
        return rows, lost

    def _tables(self) -> Iterator[tuple[str, Path, Table]]:
        """The tables in use: in each folder one, or the one called ``metadata``, or all of COCO's captions."""
        stems = {os.path.splitext(name)[0] for name in self.pictures} | set(self.pictures)
        by_folder: dict[str, list[str]] = defaultdict(list)
        for name in self.there.files:
            if is_table(name) and os.path.splitext(name)[0] not in stems:
                by_folder[name.rpartition("/")[0]].append(name)
        for folder, names in by_folder.items():
            yield from self._chosen(folder, names)
        for path in outside(self.root):
            if path.name not in classes.NAMES and (table := read_table(path, self.second)):
                yield path.name, path, table

    def _chosen(self, folder: str, names: list[str]) -> Iterator[tuple[str, Path, Table]]:
        bases = {name: name.rpartition("/")[2].lower() for name in names}
        coco = [n for n in names if bases[n].startswith("captions") and bases[n].endswith(".json")]
        plain = [n for n in names if suffix(n) not in (".json", ".parquet")]
        if len(plain) > 1:
            plain = [n for n in plain if bases[n].startswith("metadata.")] or plain
        if len(plain) > 1:
            several = ", ".join(n.rpartition("/")[2] for n in plain)
            place = self.root / folder
            raise UserError(
                f"images:{place} holds several tables ({several}); keep one, or call one metadata.csv"
            )
        for name in plain or coco or names:
            path = Path(self.there.files[name])
            table = read_table(path, self.second) if self._may_tell(bases[name]) else None
            if table is not None:
                yield name, path, table

    @staticmethod
    def _may_tell(base: str) -> bool:
        """Whether a table may be about captions: COCO's other annotations are large."""
        return not base.startswith(("instances_", "person_keypoints_", "panoptic_", "stuff_", *classes.NAMES))

    def _classes(self) -> list[Item]:
        """The pictures with captions made of their folders' names; none if those name no classes."""
        names = classes.read_names(classes.names_files(self.root))
        folders = {name: classes.folder_of(name) for name in self.pictures}
        made = {folder: classes.captions(folder, names) for folder in set(folders.values())}
        numbers = sorted(folder for folder, captions in made.items() if folder and not captions)
        if numbers:
            raise UserError(
                f"images:{self.root}: the class folders have WordNet's numbers ({numbers[0]}, ...); put "
                "LOC_synset_mapping.txt with their names next to them"
            )
        known = sorted(captions[0] for captions in made.values() if captions)
        if len(known) < 2:
            return []
        self.notes.append(f"the captions are made of the names of {len(known):,} folders: {known[0]!r}, ...")
        missing = "it has no caption"
        return [self._item(n, made[f], "" if made[f] else missing) for n, f in folders.items()]


def words_in(read: partial[bytes], kind: str) -> tuple[tuple[str, ...], str]:
    """The captions in a .txt, .caption or .json file, or the problem with it."""
    try:
        raw = read()
        return captions_of(json.loads(raw) if kind == ".json" else raw)
    except Unreadable as fault:
        return (), f"its caption cannot be read: {fault}"
    except (ValueError, RecursionError):
        return (), "its .json is not JSON"
    except OSError as error:
        return (), f"its caption cannot be read: {error.strerror}"


def read(root: Path, second: str = "") -> tuple[list[Item], list[str]]:
    """The items below a folder, and notes on all of them."""
    folder = Folder(listing(root), second)
    return folder.items(), folder.notes
