"""The lines under a ranking: what was measured, what is missing, and what could have been told apart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from . import schema, yardsticks

if TYPE_CHECKING:
    import pandas as pd

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


def notes(ranking: pd.DataFrame) -> list[str]:
    """The lines under the table: settings, recipes, lost entries, seeds and resolution."""
    about: dict[str, Any] = dict(ranking.attrs)  # type: ignore[arg-type]
    if not about:
        return []
    steps = ", ".join(f"{s}/{c:g}" for s, c in about["samplers"])
    lines = [
        f"{_count(about['settings'], 'setting')}: {', '.join(about['datasets'])};"
        f" {', '.join(about['weights'])} weights; steps/cfg {steps};"
        f" {_count(about['seeds'], 'seed')}; {_samples(about)}"
    ]
    if about["formulations"] > len(ranking):
        lines.append(f"the best {len(ranking)} of {about['formulations']} ranked formulations")
    if len(about["objectives"]) == 1:
        lines.append(f"the table has values of {HEADINGS[about['objectives'][0]]} only: ranked by it alone")
    if lost(ranking).any():
        lines.append(
            "* what diverged, failed or is missing ranks last in its settings; means are over the rest"
        )
    for metric, names in about["recipes"].items():
        for name in sorted(set(names.values())):
            where = [d for d in names if names[d] == name]
            suffix = f" ({', '.join(where)})" if len(set(names.values())) > 1 else ""
            lines.append(f"{HEADINGS[metric]}: {name}{suffix}")
    return [*lines, *yardsticks.left_out(ranking), *resolution_lines(about)]


def resolution_lines(about: dict[str, Any]) -> list[str]:
    """What differences the run could have told apart."""
    if about["seeds"] < 2:
        return [
            "resolution: one seed: differences between formulations smaller than the spread over seeds"
            " cannot be told; run several seeds to learn that spread"
        ]
    if not about["resolution"]:
        return ["resolution: unknown, no two formulations have every entry of at least two seeds"]
    parts = []
    for r in about["resolution"]:
        name = HEADINGS[r["metric"]]
        if r["log"]:
            parts.append(f"{name} sd {_percent(r['sd'])}, gap {_percent(r['gap'])}")
        else:
            parts.append(f"{name} sd {r['sd']:.2g}, gap {r['gap']:.2g}")
    counts = sorted({(r["formulations"], r["seeds"]) for r in about["resolution"]})
    pooled = " or ".join(f"{f} formulations x {s} seeds" for f, s in counts)
    return [
        f"resolution: {'; '.join(parts)}",
        f"  sd: over seeds, pooled over {pooled}; gap: smallest difference of one pair of formulations"
        " that a paired t test with pooled variance separates at 95 %",
    ]


def _samples(about: dict[str, Any]) -> str:
    names = [name for metric in ("clip", "fid") for name in about["recipes"].get(metric, {}).values()]
    found = {schema.recipe(name).get("n") for name in names} - {None}
    if not found:
        return "number of images not stated"
    return f"{' or '.join(sorted(map(str, found)))} images per setting"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _percent(log: float) -> str:
    return f"{100 * math.expm1(log):.2g} %"


def lost(ranking: pd.DataFrame) -> pd.Series[bool]:
    """Which formulations lack entries."""
    return ranking[["diverged", "failed", "missing"]].sum(axis=1) > 0
