"""Tables as text, as spreadsheets of any country write them: separators, decimal commas, encodings, blank rows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.runs.spellings import fold
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

SUFFIXES = (".csv", ".tsv")
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
SEPARATORS = (",", ";", "\t", "|")
AS_CSV = "save its sheet as CSV (UTF-8)"
_BLANKS = re.compile(r"(?<=\d)[\s\u00a0\u2009\u202f'\u2019](?=\d{3}(?!\d))")
"""Separators of thousands that mean nothing else."""
_THOUSANDS = {".": ",", ",": "."}
"""What separates thousands where the key is the decimal mark."""
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?")


def read(path: Path, known: Collection[str], numeric: Collection[str]) -> pd.DataFrame:
    """A table of texts with a header, its ``numeric`` columns in Python's spelling of numbers.

    The separator is the one that finds most of the ``known`` columns in the header, or that of a line ``sep=;`` above it.
    Raises `UserError` for a file that cannot be read, is no text, or whose rows or numbers can be read in several ways.
    """
    where = repr(str(path))
    text = _text(path, where)
    first = re.match(r'"?sep=(.)"?[;,\t]*\r?\n', text, re.IGNORECASE)
    if first:
        text = text[first.end() :]
    separator = first[1] if first else _separator(text, known, where)
    blank = "".join(SEPARATORS) + " \t"
    rows = [(n, row) for n, row in _rows(text, separator, where) if any(f.strip(blank) for f in row)]
    if not rows:
        raise UserError(f"{where} is empty")
    header = _trimmed([name.strip() for name in rows[0][1]])
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"{where} has the column {twice[0]!r} twice")
    body = []
    for line, row in rows[1:]:
        row = row[: len(header)] + _trimmed(row[len(header) :])
        if len(row) != len(header):
            counts = f"{len(row)} fields where the header has {len(header)}"
            cut = (
                "is the file cut off?"
                if len(row) < len(header)
                else "is a decimal comma taken for a separator?"
            )
            raise UserError(f"{where}, line {line + bool(first)}: {counts}; {cut}")
        body.append(row)
    frame = pd.DataFrame(body, columns=header, dtype=object)
    return _with_numbers(frame, [c for c in header if fold(c) in numeric], separator, where)


def _text(path: Path, where: str) -> str:
    """The file's text, whatever its encoding."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror}") from error
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise UserError(f"{where} is a workbook, whatever its name: {AS_CSV}")
    encoding = "utf-8-sig"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in raw[:100]:
        encoding = "utf-16-le" if raw[1:2] == b"\0" else "utf-16-be"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} cannot be read as CSV: byte {error.start + 1} is not {encoding.removesuffix('-sig').upper()}; {AS_CSV}"
        ) from None


def _rows(text: str, separator: str, where: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{where} cannot be read as CSV ({error})") from error


def _separator(text: str, known: Collection[str], where: str) -> str:
    """The separator by which the header has most of the known columns; of equals the first of `SEPARATORS`."""
    lines = text.lstrip("\r\n;,\t ").splitlines()
    header = lines[0] if lines else ""

    def columns(separator: str) -> int:
        return len({fold(name.strip().strip('"')) for name in header.split(separator)} & set(known))

    return max(SEPARATORS, key=columns)


def _trimmed(row: Sequence[str]) -> list[str]:
    """A row without trailing blank fields."""
    count = max((i + 1 for i, field in enumerate(row) if field.strip()), default=0)
    return list(row[:count])


def _with_numbers(frame: pd.DataFrame, columns: list[str], separator: str, where: str) -> pd.DataFrame:
    """The frame with the numbers of some columns in Python's spelling; what is no number stays.

    All numbers of a file have one decimal mark: that of the numbers which show it, such as 0,5 or 1.234,5, and else in a
    file with semicolons the comma, if it has any. A number that the other mark may have split into thousands, 1.234 among
    0,5, is an error.
    """
    texts = {
        c: [_BLANKS.sub("", v.strip()).replace("\N{MINUS SIGN}", "-") for v in frame[c]] for c in columns
    }
    every = [value for values in texts.values() for value in values]
    shown = {mark: value for value in reversed(every) if (mark := _decimal_mark(value))}
    if len(shown) > 1:
        raise UserError(
            f"{where} has decimal points ({shown['.']}) and decimal commas ({shown[',']}): write all numbers in one way"
        )
    decimal = next(iter(shown), "," if separator == ";" and any("," in value for value in every) else ".")
    return frame.assign(**{c: [_plain(v, decimal, where) for v in values] for c, values in texts.items()})


def _decimal_mark(value: str) -> str | None:
    """The decimal mark that a number shows; None where it has no mark, or one that may also separate thousands."""
    marks = [mark for mark in ".," if mark in value and _spelled(value, mark) is not None]
    others = [mark for mark in ".," if mark not in value and _spelled(value, mark) is not None]
    if len(marks) == 1 and not others:
        return marks[0]
    return others[0] if len(others) == 1 and not marks else None


def _plain(value: str, decimal: str, where: str) -> str:
    """A number in Python's spelling; anything else as it is."""
    spelled = _spelled(value, decimal)
    if spelled is None:
        return value
    if not {".", ","} & set(value) or decimal in value or value.count(_THOUSANDS[decimal]) > 1:
        return spelled
    other = value.replace(",", ".")
    raise UserError(
        f"{where}: {value!r} may be {spelled} or {other}: write numbers without separators of thousands"
    )


def _spelled(value: str, decimal: str) -> str | None:
    """A number in Python's spelling if ``decimal`` is its decimal mark; None if it is none then."""
    thousands = _THOUSANDS[decimal]
    whole, _, rest = value.partition(decimal)
    groups = whole.lstrip("+-").split(thousands)
    grouped = len(groups) == 1 or (
        1 <= len(groups[0]) <= 3 and groups[0][0] != "0" and all(len(g) == 3 for g in groups[1:])
    )
    if not _NUMBER.fullmatch(value) or not grouped or {thousands, decimal} & set(rest):
        return None
    return value.replace(thousands, "").replace(decimal, ".")
