"""Tables as spreadsheets write them are read, or refused in one sentence that names the cause."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.rank import main
from analysis.runs.run import read

HEADER = ("formulation", "dataset", "weights", "steps", "cfg", "clip", "fid", "parameters")
ROWS = (
    ("rf", "shapes", "ema", "5", "2.5", "25.25", "10.5", "1234567"),
    ("v/cos", "shapes", "ema", "5", "2.5", "24.125", "1012.75", "1234567"),
    ("edm", "shapes", "ema", "5", "2.5", "", "", "1234567"),
)


def text(separator: str = ",", rows: tuple[tuple[str, ...], ...] = ROWS, end: str = "\r\n") -> str:
    return "".join(separator.join(row) + end for row in (HEADER, *rows))


def comma(value: str) -> str:
    return value.replace(".", ",")


def german(value: str) -> str:
    """As a spreadsheet with German settings shows a number with thousands."""
    try:
        number = float(value)
    except ValueError:
        return value
    if value == "1234567":
        return "1.234.567"
    return f"{number:,.3f}".translate(str.maketrans(",.", ".,")) if "." in value else value


def english(value: str) -> str:
    if value == "1234567":
        return '"1,234,567"'
    return '"1,012.75"' if value == "1012.75" else value


def french(value: str) -> str:
    if value == "1234567":
        return "1\u202f234\u202f567"
    return comma(value.replace("1012", "1\u00a0012"))


def cells(change: object) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(change(value) for value in row) for row in ROWS)  # type: ignore[operator]


DIALECTS: dict[str, bytes] = {
    "plain": text().encode(),
    "utf-8 with a mark": text().encode("utf-8-sig"),
    "unicode text of Excel": text("\t").encode("utf-16"),
    "utf-16 without a mark": text("\t").encode("utf-16-le"),
    "utf-16, the other order": b"\xfe\xff" + text(";").encode("utf-16-be"),
    "semicolons": text(";").encode(),
    "semicolons and decimal commas": text(";", cells(comma)).encode(),
    "thousands, German": text(";", cells(german)).encode(),
    "thousands, English": text(",", cells(english)).encode(),
    "thousands, French": text(";", cells(french)).encode(),
    "tabs and decimal commas": text("\t", cells(comma)).encode(),
    "bars": text("|").encode(),
    "separator above": ("sep=;\r\n" + text(";")).encode(),
    "separator above, a comma": ("sep=,\n" + text()).encode(),
    "separator above, quoted and padded": ('"sep=;";;;\r\n' + text(";")).encode(),
    "empty rows": (text() + ",,,,,,,\r\n" * 3 + "\r\n\r\n").encode(),
    "rows before": ("\r\n" + text(";")).encode(),
    "empty columns": text().replace("\r\n", ",,,\r\n").encode(),
    "old Macintosh": text(end="\r").encode(),
    "headings": text().replace("formulation", " Formulation ").replace("clip", "CLIP").encode(),
    "quoted headings": text().replace(",".join(HEADER), ",".join(f'"{h.title()}"' for h in HEADER)).encode(),
    "blanks after commas": text(", ").encode(),
    **{
        f"absent as {word}": text(rows=tuple(tuple(v or word for v in row) for row in ROWS)).encode()
        for word in ("#N/A", "NA", "n/a", "-", "NULL", "NaN", "#NV")
    },
}


@pytest.fixture
def plain(tmp_path: Path) -> pd.DataFrame:
    (tmp_path / "plain.csv").write_text(text())
    return read(tmp_path / "plain.csv").frame


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("suffix", ["csv", "CSV", "TSV"])
def test_a_dialect_is_read_as_the_same_table(
    dialect: str, suffix: str, plain: pd.DataFrame, tmp_path: Path
) -> None:
    file = tmp_path / f"table.{suffix}"
    file.write_bytes(DIALECTS[dialect])
    found = read(file).frame
    pd.testing.assert_frame_equal(found, plain)
    assert found["fid"].tolist()[:2] == [10.5, 1012.75]
    assert found["fid"].isna().tolist() == [False, False, True]
    assert found["cfg"].tolist() == [2.5] * 3


@pytest.mark.parametrize("dialect", ["unicode text of Excel", "semicolons and decimal commas"])
def test_from_end_to_end(dialect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_bytes(DIALECTS[dialect])
    assert main([str(tmp_path / "a.csv"), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [row["clip"] for row in json.loads(out)["ranking"]] == [25.25, 24.125, None]


REFUSED: dict[str, tuple[bytes, str]] = {
    "a workbook": (
        b"PK\x03\x04" + bytes(50),
        "is a workbook, whatever its name: save its sheet as CSV (UTF-8)",
    ),
    "an old workbook": (b"\xd0\xcf\x11\xe0" + bytes(50), "is a workbook, whatever its name"),
    "another encoding": (
        text().replace("rf", "caf\xe9").encode("cp1252"),
        "cannot be read as CSV: byte 63 is not UTF-8; save its sheet as CSV (UTF-8)",
    ),
    "decimal commas between commas": (
        text(rows=cells(comma)).encode(),
        "line 2: 11 fields where the header has 8; is a decimal comma taken for a separator?",
    ),
    "two decimal marks": (
        text(";", (*cells(comma), (*ROWS[0][:3], "10", "2.5", "1.5", "2", "3"))).encode(),
        "has decimal points (2.5) and decimal commas (2,5): write all numbers in one way",
    ),
    "thousands or decimals": (
        text(",", ((*ROWS[0][:5], '"25,250"', '"10,500"', "1"),)).replace("2.5", "2").encode(),
        "'25,250' may be 25250 or 25.250: write numbers without separators of thousands",
    ),
    "decimals or thousands": (
        text(";", ((*ROWS[0][:4], "2,5", "25.250", "10,5", "1"),)).encode(),
        "'25.250' may be 25250 or 25.250: write numbers without separators of thousands",
    ),
    "a formula's error": (
        text().replace("10.5", "#DIV/0!").encode(),
        "row 1: fid is '#DIV/0!', not a number",
    ),
    "a number in words": (text(";").replace("10.5", "10.5.5,5").encode(), "fid is '10.5.5,5', not a number"),
    "cut off": (text(";").rstrip()[:-9].encode(), "fields where the header has 8; is the file cut off?"),
    "cut off in UTF-16": (text("\t").encode("utf-16")[:-1], "is not UTF-16"),
    "empty": (b"\xef\xbb\xbf", "is empty"),
    "blank": (b";;;\r\n;;;\r\n", "is empty"),
}


@pytest.mark.parametrize("cause", REFUSED)
def test_the_cause_is_named(cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, sentence = REFUSED[cause]
    (tmp_path / "a.csv").write_bytes(content)
    assert main([str(tmp_path / "a.csv")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sentence in err


def test_decimals_of_three_digits_are_decimals(tmp_path: Path) -> None:
    """The same table in points and in commas: nothing is multiplied by a thousand."""
    rows = (("rf", "shapes", "ema", "5", "1", "25.123", "10.456", "7"),)
    (tmp_path / "a.csv").write_text(text(",", rows))
    (tmp_path / "b.csv").write_text(text(";", tuple(tuple(map(comma, row)) for row in rows)))
    for name in ("a.csv", "b.csv"):
        assert read(tmp_path / name).frame[["clip", "fid"]].to_numpy().tolist() == [[25.123, 10.456]]
