"""A ranking as text: terminal table, Markdown, LaTeX, CSV or JSON, all from the one frame of `analysis.rank.rank`."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from samplers.errors import UserError, nearest
from samplers.lazy import lazy

from . import schema

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FORMATS = ("table", "md", "latex", "csv", "json")
HEADINGS = {
    "rank_all": "rank all",
    "rank_5": "5 steps",
    "rank_50": "50 steps",
    "val_loss": "val loss",
    "clip": "CLIP",
    "fid": "FID",
    "kid": "KID",
    "composition": "composition",
    "rank_clip": "by CLIP",
    "rank_fid": "by FID",
    "rank_val_loss": "by val loss",
}
"""Columns in the order in which they are shown; those of ``--by`` come after the 50-step column."""


def render(ranking: pd.DataFrame, format: str = "table", *, colour: bool = False) -> str:
    """``ranking`` in one of `FORMATS`, with what was measured and the smallest separable gap under it.

    ``csv`` is the bare frame and ``json`` the frame with its notes, both at full precision; the others are rounded, mark
    formulations that lack entries with ``*``, print the best of each column bold where the format has bold (a mean over
    fewer settings is never best), and show real images and shuffled captions as rows of their own. ``colour``: for a
    terminal. Raises `UserError` for an unknown format.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}; {nearest(format, FORMATS)}")
    if format == "csv":
        return ranking.to_csv(index=False).rstrip("\n")
    if format == "json":
        return _json(ranking)
    cells, best = _cells(ranking)
    writers: dict[str, Callable[[pd.DataFrame, pd.DataFrame, list[str]], str]] = {"md": _markdown, "latex": _latex}
    writer = writers.get(format) or (_terminal if colour else _plain)
    return writer(cells, best, notes(ranking))


def notes(ranking: pd.DataFrame) -> list[str]:
    """The lines under the table: settings, recipes, lost entries, seeds and resolution."""
    about = ranking.attrs
    if not about:
        return []
    steps = ", ".join(f"{s}/{c:g}" for s, c in about["samplers"])
    lines = [
        f"{_count(about['settings'], 'setting')}: {', '.join(about['datasets'])}; {', '.join(about['weights'])} weights;"
        f" steps/cfg {steps}; {_count(about['seeds'], 'seed')}; {_samples(about)}"
    ]
    if about["formulations"] > len(ranking):
        lines.append(f"the best {len(ranking)} of {about['formulations']} ranked formulations")
    if len(about["objectives"]) == 1:
        lines.append(f"the table has values of {HEADINGS[about['objectives'][0]]} only: ranked by it alone")
    if _lost(ranking).any():
        lines.append("* entries that diverged, failed or are missing rank last in their settings; means are over the rest")
    for metric, names in about["recipes"].items():
        for name in sorted(set(names.values())):
            where = [d for d in names if names[d] == name]
            suffix = f" ({', '.join(where)})" if len(set(names.values())) > 1 else ""
            lines.append(f"{HEADINGS[metric]}: {name}{suffix}")
    return [*lines, *_other_yardsticks(ranking), resolution_line(about)]


def resolution_line(about: dict[str, Any]) -> str:
    """What differences the run could have told apart."""
    if about["seeds"] < 2:
        return (
            "resolution: one seed, so differences between formulations smaller than the spread over seeds cannot be told;"
            " run several seeds to learn that spread"
        )
    if not about["resolution"]:
        return "resolution: unknown, no two formulations have every entry of at least two seeds"
    parts = []
    for r in about["resolution"]:
        name = HEADINGS[r["metric"]]
        if r["log"]:
            parts.append(f"{name} sd {_percent(r['sd'])}, gap {_percent(r['gap'])}")
        else:
            parts.append(f"{name} sd {r['sd']:.2g}, gap {r['gap']:.2g}")
    counts = sorted({(r["formulations"], r["seeds"]) for r in about["resolution"]})
    pooled = " or ".join(f"{f} formulations x {s} seeds" for f, s in counts)
    return (
        f"resolution: {'; '.join(parts)} (sd over seeds pooled over {pooled}; gap: smallest difference of one pair"
        " of formulations that a paired t test with that pooled variance separates at 95 %)"
    )


def _samples(about: dict[str, Any]) -> str:
    found = {
        schema.recipe(name).get("n") for metric in ("clip", "fid") for name in about["recipes"].get(metric, {}).values()
    } - {None}
    if not found:
        return "number of images not stated"
    return f"{' or '.join(sorted(map(str, found)))} images per setting"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _percent(log: float) -> str:
    return f"{100 * math.expm1(log):.2g} %"


def _lost(ranking: pd.DataFrame) -> pd.Series[bool]:
    return ranking[["diverged", "failed", "missing"]].sum(axis=1) > 0


def _shown(ranking: pd.DataFrame) -> list[str]:
    groups = [c for c in ranking.columns if c.startswith("rank[")]
    order = [*list(HEADINGS)[:3], *groups, *list(HEADINGS)[3:]]
    return [c for c in order if c in ranking and ranking[c].notna().any()]


def _cells(ranking: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The frame as text with headings, and which of its cells are the best of their column."""
    lost, text, best = _lost(ranking), {}, {}
    text["formulation"] = ranking["formulation"] + np.where(lost, " *", "")
    rows = _yardstick_rows(ranking)
    for column in _shown(ranking):
        values = [*ranking[column], *(row.get(column) for row in rows)]
        digits = 2 if column.startswith("rank") else _digits(ranking[column])
        written = [f"{v:.{digits}f}" if v is not None and np.isfinite(v) else "-" for v in values]
        heading = HEADINGS.get(column, column.removeprefix("rank[").removesuffix("]"))
        text[heading] = written[: len(ranking)]
        for row, value in zip(rows, written[len(ranking) :], strict=True):
            row[heading] = value if column in schema.METRICS else ""
        fair = ranking[column] if column.startswith("rank") else ranking[column].where(~lost)
        top = fair.max() if schema.HIGHER_IS_BETTER.get(column, False) else fair.min()
        best[heading] = [bool(v == top) for v in fair]
    if lost.any():
        text["lost"] = [
            ", ".join(f"{row[s]} {s}" for s in ("diverged", "failed", "missing") if row[s]) or "-"
            for _, row in ranking.iterrows()
        ]
    cells = pd.DataFrame(text)
    extra = pd.DataFrame([{c: row.get(c, "") for c in cells.columns} for row in rows], columns=cells.columns)
    marks = pd.DataFrame(best, index=cells.index).reindex(columns=cells.columns, fill_value=False)
    return pd.concat([cells, extra], ignore_index=True), marks


def _digits(values: pd.Series[Any]) -> int:
    """Decimals that give the largest value four digits."""
    largest = float(values.abs().max())
    return 2 if not np.isfinite(largest) or largest == 0 else min(6, max(0, 3 - math.floor(math.log10(largest))))


def _same_recipe(given: dict[str, Any], about: dict[str, Any], dataset: str) -> bool:
    """Whether a dataset's yardsticks were measured as the table was, as far as both say how."""
    pairs = [(given.get(f"{m}_name"), about["recipes"].get(m, {}).get(dataset)) for m in ("clip", "fid")]
    return all(a is None or b is None or a == b for a, b in pairs)


def _yardstick_rows(ranking: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows 'real images' and 'shuffled captions', for the mean over datasets or for the datasets that have them."""
    about = ranking.attrs
    given = {d: v for d, v in about.get("yardsticks", {}).items() if _same_recipe(v, about, d)}
    several = len(about.get("datasets", [])) > 1
    rows = []
    for title, end in (("real images", "real"), ("shuffled captions", "shuffled")):
        by_dataset = {
            dataset: {m: float(v[f"{m}_{end}"]) for m in schema.METRICS if v.get(f"{m}_{end}") is not None}
            for dataset, v in given.items()
        }
        if several and len(given) == len(about["datasets"]):
            common = [m for m in schema.METRICS if all(m in v for v in by_dataset.values())]
            mean = {m: float(np.mean([v[m] for v in by_dataset.values()])) for m in common}
            rows.append({"formulation": f"({title})", **mean})
        rows += [
            {"formulation": f"({title}: {dataset})" if several else f"({title})", **values}
            for dataset, values in by_dataset.items()
            if values
        ]
    return rows


def _other_yardsticks(ranking: pd.DataFrame) -> list[str]:
    about = ranking.attrs
    left_out = [d for d, v in about["yardsticks"].items() if not _same_recipe(v, about, d)]
    if not left_out:
        return []
    return [f"the yardsticks of {', '.join(left_out)} were measured by another recipe and are left out"]


def _plain(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    """Columns padded with spaces, never wrapped or cut, for files and pipes."""
    widths = [max(map(len, [column, *cells[column]])) for column in cells]
    rows = [list(cells.columns), ["-" * width for width in widths], *cells.to_numpy().tolist()]

    def line(row: list[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(padded).rstrip()

    return "\n".join([*map(line, rows), "", *lines])


def _terminal(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    """The same with rich, best values bold, fitted to the terminal; names are folded rather than cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in cells:
        name = column == "formulation"
        table.add_column(column, justify="left" if name else "right", overflow="fold", no_wrap=not name)
    for i, row in enumerate(cells.to_numpy().tolist()):
        styles = ["bold" if i < len(best) and best.iat[i, j] else "" for j in range(len(row))]
        dim = "dim" if i >= len(best) else ""
        table.add_row(*(Text(text, style=style or dim) for text, style in zip(row, styles, strict=True)))
    console = Console(file=io.StringIO(), force_terminal=True)
    with console.capture() as captured:
        console.print(table)
        console.print(Text("\n" + "\n".join(lines), style="dim"))
    return captured.get().rstrip("\n")


def _markdown(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    marked = _marked(cells, best, "**{}**", lambda text: re.sub(r"([\\|*_<>\[\]`])", r"\\\1", text))
    align = ["left" if column == "formulation" else "right" for column in cells]
    body = marked.to_markdown(index=False, disable_numparse=True, colalign=align)
    return "\n".join([body, "", *(f"- `{line}`" for line in lines)])


def _latex(cells: pd.DataFrame, best: pd.DataFrame, lines: list[str]) -> str:
    marked = _marked(cells, best, r"\textbf{{{}}}", _latex_escape)
    marked.columns = pd.Index([_latex_escape(column) for column in cells.columns])
    body = marked.to_latex(index=False, escape=False, column_format="l" + "r" * (len(cells.columns) - 1))
    # Paragraphs under the table, so that it can be put into any environment.
    return "\n".join([body.rstrip("\n"), *(rf"\par{{\footnotesize {_latex_escape(line)}}}" for line in lines)])


def _marked(cells: pd.DataFrame, best: pd.DataFrame, bold: str, escape: Callable[[str], str]) -> pd.DataFrame:
    out = cells.map(escape)
    for i, j in zip(*np.nonzero(best.to_numpy(dtype=bool)), strict=True):
        out.iat[int(i), int(j)] = bold.format(out.iat[int(i), int(j)])
    return out


def _latex_escape(text: str) -> str:
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    table |= {c: "\\" + c for c in "&%$#_{}"}
    return "".join(table.get(c, c) for c in text)


def _json(ranking: pd.DataFrame) -> str:
    records = [{k: _jsonable(v) for k, v in row.items()} for row in ranking.to_dict("records")]
    return json.dumps({"ranking": records, "notes": ranking.attrs}, indent=2, allow_nan=False)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if hasattr(value, "item") else value
