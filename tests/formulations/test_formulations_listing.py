"""What ``python -m formulations`` prints on narrow and plain terminals, and into pipes: no word and no number is cut."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

import formulations
from flowbench._core.readable import width, wrapped
from formulations import get, printout
from formulations.__main__ import main

ROOT = Path(formulations.__file__).parents[1]
PLAIN = {"TERM": "dumb", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}


def on_a_terminal(arguments: list[str], columns: int) -> str:
    """What the command shows on a terminal without styles or letters beyond ASCII."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "formulations", *arguments]
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment | PLAIN
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how the end of a terminal reads
            while part := os.read(ours, 4096):
                shown += part
        os.close(ours)
    assert process.returncode == 0
    return shown.decode("ascii").replace("\r", "")


def words(text: str) -> list[str]:
    return [word for word in text.split() if word != "\\"]


def test_the_overview_on_a_terminal_and_in_a_pipe() -> None:
    shown = on_a_terminal([], 40)
    assert max(map(len, shown.splitlines())) <= 40
    command = [sys.executable, "-m", "formulations"]
    piped = subprocess.run(command, cwd=ROOT, env=os.environ | PLAIN, capture_output=True, text=True)
    assert piped.stderr == ""
    assert "\x1b" not in shown + piped.stdout
    assert words(shown) == words(piped.stdout)


@pytest.mark.parametrize("room", [40, 60, 200])
def test_nothing_is_cut(room: int) -> None:
    curriculum = get("rf/curriculum(cosmap,.5)")
    for shown, wide in (
        (printout.overview(room), printout.overview(printout.WIDE)),
        (printout.describe(curriculum, room), printout.describe(curriculum, printout.WIDE)),
    ):
        assert max(map(len, shown.splitlines())) <= room
        assert set(words(shown)) == set(words(wide))


def test_every_number_stands_below_its_heading() -> None:
    wide, narrow = (printout.describe(get("edm"), room).splitlines() for room in (110, 40))
    (head,) = (i for i, line in enumerate(wide) if line.split()[:3] == ["u", "t", "clock"])
    whole = [line.split() for line in wide[head : head + 6]]
    heads = [i for i, line in enumerate(narrow) if line.split()[:1] == ["u"]]
    parts = [[line.split() for line in narrow[i : i + 6]] for i in heads]
    assert [len(part[0]) for part in parts] == [4, 4, 4]
    assert whole == [row + second[1:] + third[1:] for row, second, third in zip(*parts, strict=True)]


def test_a_letter_that_an_encoding_lacks_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii", write_through=True))
    assert main(["rf", "--plot", str(tmp_path / "\u6d41.svg")]) == 0
    assert printed.getvalue().endswith(b"\\u6d41.svg\n")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "  three"]),
        ("流匹配 流匹配", ["流匹配", "  流匹配"]),
        ("a name(1,2,3)[x]", ["a name(1,2,", "  3)[x]"]),
        ("unbreakable-word", ["unbreakable-word"]),
        ("", [""]),
    ],
)
def test_wrapped(text: str, lines: list[str]) -> None:
    assert wrapped(text, 11) == lines
    assert wrapped(text, 100) == [text]
    assert all(width(line) <= 11 for line in lines if "-" not in line)
