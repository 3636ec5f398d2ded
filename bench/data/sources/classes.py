"""Folders of classes, as ImageNet's: "a photo of a <class name>" (arXiv 2403.03206, appendix B.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from bench.data.sources.items import one_line, read_file
from flowbench._core.errors import UserError

NAMES = (
    "classes.json",
    "imagenet_class_index.json",
    "LOC_synset_mapping.txt",
    "synset_words.txt",
    "words.txt",
)
"""Files with the names of the classes, in the folder or the one above it."""
_GENERAL = """
train training val valid validation dev test testing eval image images img imgs picture pictures photo photos data dataset
jpg jpeg png raw all files
"""
GENERAL = frozenset(_GENERAL.split())
"""Names of folders that describe no picture."""
_WNID = re.compile(r"n\d{8}")


def names_files(root: Path) -> list[Path]:
    """The files with the names of the classes."""
    return [folder / name for folder in (root, root.parent) for name in NAMES if (folder / name).is_file()]


def folder_of(name: str) -> str:
    """The innermost folder of a picture whose name is not general, or nothing."""
    folders = [f for f in name.split("/")[:-1] if f.lower() not in GENERAL]
    return folders[-1] if folders else ""


def captions(folder: str, names: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """A caption for each name of a class folder; none if it is not known and no more than one of WordNet's numbers."""
    words = names.get(folder)
    if words is None:
        text = re.sub(r"^(n\d{8}|\d+)[-._ ]+", "", folder).replace("_", " ")
        words = () if _WNID.fullmatch(folder) else (text,)
    return tuple(dict.fromkeys(caption(word) for word in words if word.strip()))


def caption(name: str) -> str:
    """The study's caption of a class."""
    return f"a photo of a {one_line(name)}"


def read_names(files: list[Path]) -> dict[str, tuple[str, ...]]:
    """Names by class folder. Raises UserError if a file cannot be read."""
    found: dict[str, tuple[str, ...]] = {}
    for file in files:
        try:
            text = read_file(file).decode("utf-8-sig")
            pairs = _json(json.loads(text)) if file.suffix == ".json" else _lines(text)
            for folder, names in pairs:
                found.setdefault(folder, names)
        except Exception as error:
            raise UserError(f"images:{file} cannot be read as names of classes: {error}") from None
    return found


def _lines(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """``n01440764 tench, Tinca tinca``."""
    for line in text.splitlines():
        folder, _, names = line.strip().replace("\t", " ").partition(" ")
        if names:
            yield folder, split_names(names)


def _json(whole: dict[str, object]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """``{folder: "name, name"}``, ``{folder: [name, name]}`` or Keras' ``{"0": [folder, name]}``."""
    for key, value in whole.items():
        words = [value] if isinstance(value, str) else [w for w in value if isinstance(w, str)]  # type: ignore[attr-defined]
        if len(words) == 2 and _WNID.fullmatch(words[0]):
            yield words[0], (words[1].replace("_", " "),)
        else:
            yield key, tuple(name for word in words for name in split_names(word))


def split_names(names: str) -> tuple[str, ...]:
    """The names of a class in a text: ``great white shark, white_shark``."""
    return tuple(name.strip().replace("_", " ") for name in names.split(",") if name.strip())


def read_numbered(file: Path) -> list[tuple[str, ...]]:
    """Names of classes by their numbers: a line each, with or without WordNet's number, or a JSON list or object of them.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = read_file(file).decode("utf-8-sig")
        if file.suffix != ".json":
            return [split_names(re.sub(r"^n\d{8}\s+", "", line)) for line in text.strip().splitlines()]
        whole = json.loads(text)
        if isinstance(whole, dict):
            whole = [whole[str(number)] for number in range(len(whole))]
        words = [[each] if isinstance(each, str) else each[-1:] for each in whole]
        return [tuple(name for word in several for name in split_names(word)) for several in words]
    except Exception as error:
        raise UserError(f"{file} cannot be read as names of classes by number: {error}") from None
