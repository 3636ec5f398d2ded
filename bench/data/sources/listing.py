"""What lies in a folder: regular files by name, and what has a picture's name and is no regular file."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.data.sources.items import shown
from flowbench._core.errors import UserError

_ENDINGS = """
.apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .fit .fits .flc .fli .ftc .ftu .gbr .gif .icb .icns .ico .iim .im
.j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .palm .pbm .pcd .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi
.ras .rgb .rgba .sgi .tga .tif .tiff .vda .vst .webp .xbm .xpm
.arw .cr2 .dng .emf .eps .heic .heif .jxl .nef .ps .svg .wmf
"""
PICTURES = frozenset(_ENDINGS.split())
"""Endings of pictures. Pillow reads most; what it does not read here is counted, and not passed over."""
ARROW = frozenset({".parquet", ".arrow"})


@dataclass(frozen=True)
class Listing:
    """The paths of the regular files below ``root``, and why other entries cannot be read, by relative name with ``/``."""

    root: Path
    files: dict[str, str]
    odd: dict[str, str]

    def ending(self, endings: Iterable[str]) -> list[str]:
        """The files with one of these endings, in any case."""
        return [name for name in self.files if suffix(name) in endings]

    def describe(self) -> str:
        """What there is, in words: ``"3 .csv, 1 .zip"``."""
        counts = Counter(suffix(name) or "without an ending" for name in self.files)
        return ", ".join(f"{n} {what}" for what, n in counts.most_common(6)) or "nothing"


def suffix(name: str) -> str:
    """``".jpg"`` of ``"a/B.c.JPG"``."""
    return os.path.splitext(name)[1].lower()


def hidden(name: str) -> bool:
    """Whether an entry belongs to a system or a tool, not to the data."""
    return name.startswith(".") or name == "__MACOSX"


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every entry below ``root`` that is no folder, with its relative name; follows links to folders, each once.

    Raises:
        UserError: a folder cannot be read.
    """
    seen: set[tuple[int, int]] = set()
    folders = [("", str(root))]
    while folders:
        prefix, folder = folders.pop()
        try:
            facts = os.stat(folder)
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if hidden(entry.name):
                        continue
                    if _is(entry, "is_dir"):
                        folders.append((f"{prefix}{entry.name}/", entry.path))
                    else:
                        yield prefix + entry.name, entry
        except OSError as error:
            raise UserError(f"images:{shown(folder)} cannot be read: {error.strerror}") from None


def listing(root: Path) -> Listing:
    """All that lies below ``root``, in the order of the names. Raises as :func:`walk`."""
    files: dict[str, str] = {}
    odd: dict[str, str] = {}
    for name, entry in walk(root):
        if _is(entry, "is_file"):
            files[name] = entry.path
        elif suffix(name) in PICTURES:
            broken = entry.is_symlink() and not os.path.exists(entry.path)
            odd[name] = "it is a link to nothing" if broken else "it is not a regular file"
    return Listing(root, dict(sorted(files.items())), dict(sorted(odd.items())))


def _is(entry: os.DirEntry[str], what: str) -> bool:
    try:
        return bool(getattr(entry, what)())
    except OSError:  # a link to itself
        return False


_SPLIT = re.compile(r"(train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?|eval)\d*", re.IGNORECASE)


def pooled(names: Iterable[str]) -> list[str]:
    """A note if folders or files are called after several splits: pictures are split by their content only."""
    words = {part.partition("-")[0].partition(".")[0] for name in set(names) for part in name.split("/")}
    splits = sorted(word for word in words if _SPLIT.fullmatch(word))
    if len(splits) < 2:
        return []
    return [f"the splits {', '.join(splits)} are read as one set, and divided anew by the pictures' content"]
