"""Pictures that are left out, by the sha256 of their files: one a line, as ``python -m bench.dedup`` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from flowbench._core import atomic
from flowbench._core.errors import UserError

NAME = "drop.txt"


def write(file: Path, keys: Iterable[str]) -> None:
    """Write keys, sorted."""
    atomic.write_text(file, "".join(f"{key}\n" for key in sorted(keys)))


def read(file: Path) -> frozenset[str]:
    """The keys of a file. Raises :class:`UserError` if it is not there, or has something else in a line."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(
            f"drop={file} cannot be read ({error}): `python -m bench.dedup` writes such a list"
        ) from None
    for number, line in enumerate(lines, 1):
        if not re.fullmatch(r"[0-9a-f]{64}", line):
            raise UserError(
                f"drop={file}: line {number} is no sha256 of a picture's file in 64 hexadecimal digits"
            )
    return frozenset(lines)


def left(keys: Sequence[str], file: Path) -> list[int]:
    """The places of the keys that stay. Raises :class:`UserError` as :func:`read`, and for a list of other pictures."""
    dropped = read(file)
    stay = [i for i, key in enumerate(keys) if key not in dropped]
    if dropped and len(stay) == len(keys):
        raise UserError(f"drop={file} names none of these {len(keys):,} pictures: it belongs to others")
    return stay
