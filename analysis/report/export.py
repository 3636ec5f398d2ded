"""The ranking to take away from the page: a CSV file and LaTeX, as `analysis.tables.output` writes them."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from markupsafe import Markup

from analysis.ranking import render
from analysis.ranking.result import RankingResult
from analysis.results.private import without_paths
from analysis.tables import output


@dataclass(frozen=True)
class Export:
    """``csv`` is a data URI, so that a link can offer it as a file; ``latex`` is text."""

    csv: Markup
    latex: str


def export(ranking: RankingResult) -> Export:
    """Of a ranking (`ranking.ranking.rank`): exact values as CSV, what the page shows as LaTeX; no paths of the machine."""
    table = [render.ranking_table(ranking)]
    text = without_paths(output.write(table, "csv")) + "\n"
    coded = base64.b64encode(text.encode()).decode()
    return Export(
        Markup(f"data:text/csv;charset=utf-8;base64,{coded}"), without_paths(output.write(table, "latex"))
    )
