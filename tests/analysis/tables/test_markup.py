"""LaTeX, Markdown and CSV with hostile names, as their own readers read them back."""

from __future__ import annotations

import csv
import io
import itertools
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from analysis.ranking.render import ranking_table
from analysis.tables import output
from analysis.tables.table import Table, fixed, simple
from flowbench._core.readable import readable

from ..rankings import rank

HOSTILE = (
    "[ours] rf",
    "*starred*",
    "a|b",
    "a--b---c",
    "~~struck~~",
    "$x_1$ and $y$",
    "`code`",
    "``two``",
    "a&b &amp; c",
    "100% #1",
    "snake_case_name",
    "{braced}",
    "back\\slash\\n",
    "<b>bold</b>",
    "q'uote \"double\" ''x''",
    "!`exclaimed?`",
    "a^b~c",
    "x,,y",
    "**both**",
    "[link](http://a.b)",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "café",
    "流/余弦",
    "Ångström ± …",
    "ℝ→Ω",
    "\\",
    "a\\|b",
)


def hostile() -> Table:
    frame = pd.DataFrame({"formulation": HOSTILE, "clip": np.arange(len(HOSTILE)) - 5.5})
    columns = {"formulation": ("name [*]", str), "clip": ("a|b_c$ %", fixed(2))}
    return simple("hostile", frame, columns, [f"note {name}" for name in HOSTILE], "Title & *more*_|")


def cells_of(tokens: list[Token]) -> list[str]:
    """The texts of a parsed table, by the parser's own reading of what is inside a cell."""
    found = []
    for before, token in itertools.pairwise(tokens):
        if before.type in ("th_open", "td_open"):
            assert token.type == "inline"
            kinds = {child.type for child in token.children or []}
            assert kinds <= {"text", "text_special", "strong_open", "strong_close"}, (token.content, kinds)
            found.append("".join(child.content for child in token.children or []))
    return found


def test_markdown_is_read_back() -> None:
    text = output.write([hostile()], "md")
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    cells = cells_of(tokens)
    assert cells[:2] == ["name [*]", "a|b_c$ %"]
    assert cells[2::2] == list(HOSTILE)
    assert cells[3::2] == [f"{i - 5.5:.2f}" for i in range(len(HOSTILE))]
    notes = [t.children for t in tokens if t.type == "inline" and t.content.startswith("`")]
    assert [[c.content for c in children or []] for children in notes] == [[f"note {n}"] for n in HOSTILE]
    assert tokens[1].children is not None
    assert "".join(c.content for c in tokens[1].children) == "Title & *more*_|"


def test_markdown_escapes_what_github_adds_to_it() -> None:
    """A pair of dollars is a formula there, and a single tilde strikes through."""
    text = output.write([hostile()], "md")
    body = [line for line in text.splitlines() if line.startswith("|")]
    assert not any(re.search(r"(?<!\\)[$~]", line) for line in body)


def test_markdown_marks_and_bold_are_read_back() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"formulation": name, "seed": seed, "steps": 5, "clip": 10.0 * i + rng.normal(), "fid": 50.0 - 9 * i}
        for i, name in enumerate(("a|b", "*c*", "~d~"))
        for seed in range(3)
    ]
    made = ranking_table(rank(pd.DataFrame(rows).assign(dataset="$s$", weights="ema", cfg=5.0)))
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(output.write([made], "md"))
    bold = [t for t in tokens if any(c.type == "strong_open" for c in t.children or [])]
    assert len(bold) == int(made.best.to_numpy().sum()) > 0
    assert "~d~" in cells_of(tokens)


LATEX = r"""\documentclass{article}
%s\usepackage{booktabs}
\usepackage[landscape,paperheight=400cm,paperwidth=60cm,margin=1cm]{geometry}
\pagestyle{empty}\parindent0pt
\begin{document}
%s
\end{document}
"""
GLYPHS = {"\u02dc": "~", "\u223c": "~", "\u02c6": "^", "\u2217": "*", "\u201d": '"', "\u2019": "'"}
"""What pdftotext calls the glyphs of LaTeX's first font."""
T1 = r"\input{glyphtounicode}\pdfgentounicode=1\usepackage[T1]{fontenc}" + "\n"
needs_latex = pytest.mark.skipif(
    not (shutil.which("pdflatex") and shutil.which("pdftotext")),
    reason="needs pdflatex and pdftotext (texlive-latex-recommended, poppler-utils)",
)


def typeset(text: str, folder: Path, fonts: str = "") -> list[str]:
    """The lines of a page, as pdftotext reads them."""
    (folder / "a.tex").write_text(LATEX % (fonts, text), encoding="utf-8")
    run = subprocess.run(
        ["pdflatex", "-interaction=batchmode", "-halt-on-error", "-no-shell-escape", "a.tex"],
        cwd=folder,
        capture_output=True,
    )
    log = folder / "a.log"
    assert run.returncode == 0, log.read_text(errors="replace")[-3000:] if log.exists() else run.stdout
    subprocess.run(["pdftotext", "-raw", "a.pdf"], cwd=folder, check=True)
    lines = (folder / "a.txt").read_text(encoding="utf-8").splitlines()
    return ["".join(GLYPHS.get(c, c) for c in line).strip() for line in lines]


def in_pdflatex(name: str) -> str:
    """What pdfLaTeX shows of a name: for letters that it lacks, their codes."""
    return (
        name.replace("流", "U+6D41")
        .replace("余弦", "U+4F59 U+5F26")
        .replace("ℝ→Ω", "U+211D U+2192 U+03A9")
        .replace("…", ". . .")
    )


@needs_latex
def test_latex_is_read_back(tmp_path: Path) -> None:
    text = output.write([hostile()], "latex")
    lines = typeset(text, tmp_path)
    lines += typeset(
        text, tmp_path, T1
    )  # an underscore of the first font is a rule, dashes of the second have no name
    for i, name in enumerate(HOSTILE):
        shown, value = in_pdflatex(name), f"{i - 5.5:.2f}"
        assert f"{shown} {value}" in lines
        assert f"note {shown}" in lines
    assert "name [*] a|b_c$ %" in lines
    assert "Title & *more*_|" in lines


@needs_latex
def test_every_letter_of_latin_alphabets_compiles(tmp_path: Path) -> None:
    letters = "".join(map(chr, [*range(0x20, 0x7F), *range(0xA1, 0x180)]))
    frame = pd.DataFrame({"formulation": [letters[i : i + 8] for i in range(0, len(letters), 8)]})
    made = simple("letters", frame, {"formulation": ("letters", str)})
    typeset(output.write([made], "latex"), tmp_path)


def test_csv_is_read_back_and_holds_no_formula() -> None:
    frame = pd.DataFrame({"formulation": HOSTILE, "clip": np.linspace(-1, 1, len(HOSTILE)) / 3, "n": 1})
    text = output.csv(frame)
    back = pd.read_csv(io.StringIO(text), keep_default_na=False)
    assert back["clip"].tolist() == frame["clip"].tolist(), "numbers stay numbers, to the last digit"
    rows = list(csv.DictReader(io.StringIO(text)))
    for row, name in zip(rows, HOSTILE, strict=True):
        assert row["formulation"] == (f"'{name}" if name[0] in "=+-@" else name)
    assert not any(row["formulation"].startswith(("=", "+", "-", "@")) for row in rows)


def test_the_csv_of_a_ranking_has_every_number_exactly() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"formulation": f, "seed": s, "steps": 5, "clip": rng.normal(), "fid": rng.normal() + 20}
        for f in ("=cmd", "rf", "-x")
        for s in range(3)
    ]
    found = rank(pd.DataFrame(rows).assign(dataset="a", weights="ema", cfg=5.0))
    back = pd.read_csv(io.StringIO(output.write([ranking_table(found)], "csv")))
    assert set(back["formulation"]) == {"'=cmd", "rf", "'-x"}
    frame = found.frame()
    for column in frame.select_dtypes("number"):
        np.testing.assert_array_equal(back[column], frame[column], err_msg=str(column))


def test_readable_is_the_identity_in_utf8() -> None:
    assert all(readable(name, "utf-8") == name for name in HOSTILE)
