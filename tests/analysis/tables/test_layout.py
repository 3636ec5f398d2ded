"""Tables on screens of any width and encoding: nothing is cut inside a number, a name or a word."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.cells import cell_len
from rich.text import Text

from analysis.ranking.render import ranking_table
from analysis.tables import output
from analysis.tables.layout import Screen, wrapped
from analysis.tables.table import Table
from flowbench._core.readable import readable

from ..rankings import rank

ROOT = Path(__file__).parents[3]
NAMES = ("rf/lognorm(0.00,1.00)", "流/余弦", "eps/linear", "🔥 ours", "café")


def results(seeds: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"formulation": name, "seed": seed, "steps": steps, "clip": 40 - i + rng.normal()}
        | {
            "fid": 20 + i + rng.normal(),
            "val_loss": 0.3 + 0.01 * i + 0.001 * rng.normal(),
            "kid": 0.02 + 0.001 * i,
        }
        for i, name in enumerate(NAMES)
        for seed in range(seeds)
        for steps in (5, 50)
    ]
    clip = "clip[tinyclip-659db5e6,bicubic32,n=256]"
    fid = "fid[tinyclip-659db5e6,bicubic32,ref=shapes-bead6ab4-2000,n=256]"
    return pd.DataFrame(rows).assign(
        dataset="shapes", weights="ema", cfg=5.0, clip_name=clip, fid_name=fid, composition=0.5
    )


@pytest.fixture(scope="module")
def table() -> Table:
    return ranking_table(rank(results(), by="steps"))


def plain(text: str) -> list[str]:
    return Text.from_ansi(text).plain.splitlines()


@pytest.mark.parametrize("styled", [False, True])
@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
def test_nothing_is_cut_at_any_width(table: Table, width: int, styled: bool) -> None:
    lines = plain(output.write([table], screen=Screen(width, styled)))
    rows = table.texts()
    for name, entries in zip(NAMES, rows.itertuples(index=False), strict=True):
        assert any(line.startswith(str(entries[0])) for line in lines), name
    words = set(re.split(r"\s+", " ".join(lines)))
    body = lines[: lines.index("")]
    shown = [c for c in rows.columns if any(str(c) in line for line in body)]
    for column in shown[1:]:
        for entry in rows[column]:
            assert set(entry.split()) <= {w.rstrip("~* ") for w in words} | words, (column, entry)
    if width >= 40:
        assert max(map(cell_len, lines)) <= width
    assert max(map(cell_len, body)) <= max(width, cell_len(NAMES[0]))
    gone = [c for c in rows.columns if c not in shown]
    assert any(line.startswith("left out") for line in lines) == bool(gone and "rank all" in lines[0])
    if width == 200:
        assert not gone


def test_columns_stand_below_each_other_whatever_the_letters(table: Table) -> None:
    lines = output.write([table]).splitlines()
    rule = lines[1]
    starts = [m.start() for m in re.finditer(r"(?<=  )-", rule)]
    for line in [lines[0], *lines[2 : 2 + len(NAMES)]]:
        cells, place = [""], 0
        for letter in line:
            cells.append(letter)
            place += cell_len(letter)
        flat = "".join(c + "\0" * (cell_len(c) - 1) for c in line)
        for start in starts:
            assert flat[start - 2 : start] == "  ", line


def test_where_even_two_columns_are_too_wide_rows_become_paragraphs(table: Table) -> None:
    lines = output.write([table], screen=Screen(30)).splitlines()
    at = lines.index("eps/linear")
    row = table.texts()[table.cells["formulation"] == "eps/linear"].iloc[0]
    entries = {line.strip().split("  ")[0]: line.split("  ")[-1].strip() for line in lines[at + 1 : at + 12]}
    assert entries["val loss"].rstrip("~") == row["val loss"]
    assert entries["rank all"].rstrip("~") == row["rank all"]
    assert not any(line.startswith("left out") for line in lines)


def test_references_without_an_entry_on_a_narrow_screen_are_left_out() -> None:
    known = {"shapes": {"clip_real": 97.0, "fid_real": 5.0, "clip_shuffled": 12.0}}
    made = ranking_table(rank(results(), real_scores=known))
    for width, there in ((200, [True, True]), (40, [False, False])):
        shown = output.write([made], screen=Screen(width))
        assert [word in shown for word in ("real images", "shuffled captions")] == there
        assert shown.count("--\n") == 1 + any(there)


def test_lines_are_broken_between_words_and_long_words_after_their_marks() -> None:
    line = "CLIP: clip[tinyclip-659db5e6,bicubic32,n=256] of (shapes, digits)"
    for room in range(22, 70):
        made = wrapped(line, room)
        assert max(map(len, made)) <= room
        assert re.sub(r"\s", "", "".join(made)) == re.sub(r"\s", "", line)
        for part in ("tinyclip-659db5e6,", "bicubic32,", "n=256]", "(shapes,"):
            assert any(part in one for one in made)
    assert wrapped(line, None) == [line]


def test_best_values_are_bold_where_the_terminal_has_bold(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tty:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "300")
    for term, styled in (("xterm-256color", True), ("dumb", False), ("", False)):
        monkeypatch.setenv("TERM", term)
        screen = Screen.of(Tty())  # type: ignore[arg-type]
        assert (screen.width, screen.styled) == (300, styled)
        text = output.write([table], screen=screen)
        leader = table.cells["val loss"][table.best["val loss"].to_numpy()].iloc[0]
        assert (f"\x1b[1m{leader}" in text) == styled
        assert ("\x1b" in text) == styled


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_replaced_before_columns_are_measured(table: Table, encoding: str) -> None:
    text = output.write([table], screen=Screen(encoding=encoding))
    text.encode(encoding)
    assert ("\u00b1" in text) == (encoding != "ascii")
    assert ("+-" in text) == (encoding == "ascii")
    assert (r"\u6d41/\u4f59\u5f26" in text) == (encoding != "utf-8")
    lines = text.splitlines()
    assert len({cell_len(line) for line in lines[:2]}) == 1


def test_replacements_keep_names_apart() -> None:
    assert readable("caf\u00e9 \u00b12 \u2026", "ascii") == r"caf\xe9 +-2 ..."
    assert readable("\udcff", "utf-8") == r"\udcff"
    assert readable("\u6d41 \u00e9", "latin-1") == "\\u6d41 \u00e9"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layout") / "results.csv"
    results().to_csv(path, index=False)
    return path


def test_the_command_in_ascii_is_no_traceback(file: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(
        [sys.executable, "-m", "analysis.rank", str(file)], cwd=ROOT, env=environment, capture_output=True
    )
    assert run.returncode == 0, run.stderr
    assert b"+-" in run.stdout
    wrong = subprocess.run(
        [sys.executable, "-m", "analysis.rank", "流.csv"], cwd=ROOT, env=environment, capture_output=True
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(b"error: there is no '\\u6d41.csv'")


@pytest.mark.parametrize(("term", "columns"), [("dumb", 80), ("xterm", 40)])
def test_the_command_on_a_terminal(file: Path, term: str, columns: int) -> None:
    main, child = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": str(columns)}
    with subprocess.Popen(
        [sys.executable, "-m", "analysis.rank", str(file)], cwd=ROOT, env=environment, stdout=child
    ) as run:
        os.close(child)
        read = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            read += part
    os.close(main)
    assert run.returncode == 0
    text = read.decode()
    assert ("\x1b" in text) == (term != "dumb")
    assert "\u2026" not in text
    assert max(map(cell_len, plain(text.replace("\r", "")))) <= columns
