"""Tables in Markdown (GitHub's) and LaTeX (booktabs), escaped so that their readers show what was written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from itertools import groupby
from typing import TYPE_CHECKING

from analysis.tables.layout import width
from analysis.tables.table import LACKING, TIED, Table

if TYPE_CHECKING:
    import pandas as pd


def markdown(table: Table) -> str:
    """A table with its title above and its notes below it as a list."""
    marked = _marked(table, markdown_escape, "**{}**", rf"\{LACKING}", TIED)
    rows = [list(marked.columns), *marked.to_numpy().tolist()]
    widths = [max(3, *(width(row[j]) for row in rows)) for j in range(marked.shape[1])]

    def line(row: list[str]) -> str:
        padded = [cell + " " * (room - width(cell)) for cell, room in zip(row, widths, strict=True)]
        right = [" " * (room - width(cell)) + cell for cell, room in zip(row, widths, strict=True)]
        return "| " + " | ".join([*padded[:1], *right[1:]]) + " |"

    rule = [":" + "-" * (widths[0] + 1), *("-" * (room + 1) + ":" for room in widths[1:])]
    body = [line(rows[0]), "|" + "|".join(rule) + "|", *map(line, rows[1:])]
    head = [f"**{markdown_escape(table.title)}**", ""] if table.title else []
    return "\n".join([*head, *body, *([""] if table.notes else []), *(f"- {code(n)}" for n in table.notes)])


def markdown_escape(text: str) -> str:
    """Text for a cell in Markdown."""
    return re.sub(r"([\\|*_<>\[\]`~$]|&(?=#?\w+;))", r"\\\1", text)


def code(text: str) -> str:
    """Text as code in Markdown, between more backticks than it has in a row."""
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    inner = f" {text} " if text.startswith("`") or text.endswith("`") else text
    return f"{fence}{inner}{fence}"


def latex(table: Table) -> str:
    """A ``tabular`` with title and notes as paragraphs around it, so that it can be put into any environment."""
    marked = _marked(table, latex_escape, r"\textbf{{{}}}", rf"$^{{{LACKING}}}$", r"$^{\sim}$")
    rows = [" & ".join(row) + r" \\" for row in marked.to_numpy().tolist()]
    body = [rf"\begin{{tabular}}{{l{'r' * (marked.shape[1] - 1)}}}", r"\toprule"]
    body += [" & ".join(marked.columns) + r" \\", r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    head = [rf"\par{{\bfseries {latex_escape(table.title)}}}"] if table.title else []
    notes = [rf"\par{{\footnotesize {latex_escape(line)}}}" for line in table.notes]
    return "\n".join([*head, *body, *notes])


LATEX = {
    **{c: "\\" + c for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    '"': r"{\ttfamily\char34}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
}
"""Characters that mean something else to LaTeX, or whose glyph in its first font is another one. Brackets and asterisks are
braced because a row may begin with one: after ``\\\\`` and ``\\midrule`` they would be an argument."""
LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=,)(?=,)")
KNOWN = set("±×÷·°¶§©®¬¹²³¼½¾–—‘’“”…€ßæÆœŒøØłŁı")
"""What LaTeX's first font encoding has besides ASCII and accented letters."""


def latex_escape(text: str) -> str:
    """Text for LaTeX. What pdfLaTeX lacks stands as ``U+6D41`` there, and as itself in XeLaTeX and LuaLaTeX."""
    broken = LIGATURES.sub("\0", text)
    made = []
    for known, letters in groupby(broken, _in_latex):
        part = "".join(LATEX.get(c, c) for c in letters)
        if not known:
            codes = " ".join(f"U+{ord(c):04X}" for c in part)
            part = rf"{{\ifdefined\Umathcode {part}\else {codes}\fi}}"
        made.append(part)
    return "".join(made).replace("\0", "{}")


def _in_latex(letter: str) -> bool:
    """Whether pdfLaTeX's first font has a letter, perhaps as a letter with an accent."""
    if letter < "\x7f" or letter in KNOWN:
        return True
    base = unicodedata.normalize("NFD", letter)
    return letter < "\u0180" and base[0].isascii() and base[1:] not in ("", "\N{COMBINING OGONEK}")


def _marked(table: Table, escape: Callable[[str], str], bold: str, lacking: str, tied: str) -> pd.DataFrame:
    """The cells with their marks, and the headings, in a markup."""
    out = table.texts().copy()
    for j, column in enumerate(out.columns):
        texts = [escape(str(cell)) for cell in out[column]]
        marks = zip(table.best[column], table.lacking[column], table.tied[column], strict=True)
        for i, (best, less, same) in enumerate(marks):
            texts[i] = (
                (bold.format(texts[i]) if best else texts[i]) + lacking * bool(less) + tied * bool(same)
            )
        out.isetitem(j, texts)
    return out.rename(columns=lambda c: escape(str(c)))
