"""The lines under a ranking: what was measured, what is missing, and what could have been told apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.ranking import untrained
from analysis.ranking.blocks import seed_count
from analysis.results import declared, schema, yardsticks
from analysis.tables.table import LACKING, TIED
from analysis.tables.wording import count, names
from bench.config.settings import Setting

if TYPE_CHECKING:
    import pandas as pd

BY_FORMULATION = ("formulation", "base", "sampler")
"""Columns that tell formulations apart: among fewer of them, marks and intervals are others."""
LEAST_IMAGES = 100
"""Fewest images and references of a Fréchet distance that needs no remark; more if its features have as many dimensions,
since a covariance of n images has rank n - 1 at most."""


UNEVEN = 1.5
"""From this ratio of its two sides on both ends of an interval are shown."""


def headings(about: Mapping[str, Any]) -> dict[str, str]:
    """The columns of a ranking with these ``attrs``, in the order in which they are shown; those of ``--by`` come after the
    50-step column."""
    metrics = declared.among(about)
    return {
        "rank_all": "rank all",
        "position": "place",
        "rank_5": "5 steps",
        "ideal_5": "ideal FID at 5",
        "rank_50": "50 steps",
        **{name: metric.label for name, metric in metrics.items() if metric.ranked},
        "front_one": "on front 1",
        "wins": "beats leader",
        **{f"rank_{name}": f"by {metrics[name].label}" for name in declared.COMPARED if name in metrics},
    }


def uneven(ranking: pd.DataFrame, metric: str) -> NDArray[np.bool_]:
    """Whose interval is so far from symmetric that half of it would mislead."""
    low, high = ranking[metric] - ranking[f"{metric}_low"], ranking[f"{metric}_high"] - ranking[metric]
    return np.asarray(np.maximum(low, high) > UNEVEN * np.minimum(low, high))


def label(about: Mapping[str, Any], response: str) -> str:
    """What a metric is called, or ``rank``."""
    return "rank" if response == "rank" else declared.among(about)[response].label


def notes(ranking: pd.DataFrame, shown: pd.Series[bool] | None = None) -> list[str]:
    """The lines under the table: settings, recipes, lost entries, seeds and resolution; ``shown``: which rows are."""
    about: dict[str, Any] = dict(ranking.attrs)  # type: ignore[arg-type]
    if not about:
        return []
    drawn = ", ".join(Setting(**kept).key for kept in about["samplers"])
    lines = [
        *provisional_lines(about),
        f"{count(about['settings'], 'setting')}: {', '.join(about['datasets'])};"
        f" {', '.join(about['weights'])} weights; steps:cfg {drawn};"
        f" {seed_count(about['seed_counts'])}; {_samples(about)}",
    ]
    kept = ranking if shown is None else ranking[shown]
    if len(kept) < len(ranking):
        lines.append(
            f"{len(kept)} of {len(ranking)} ranked formulations; marks are those of the whole ranking"
        )
    if among := [c for c in about["where"] if c.partition("=")[0] in BY_FORMULATION]:
        lines.append(f"only {names(among)}: ranked among themselves, as if there were no others")
    if about["uncounted"]:
        what = " and ".join(label(about, m) for m in about["objectives"])
        lines.append(
            f"{count(about['uncounted'], 'more setting')} in which no formulation has {what}: not ranked"
        )
    if len(about["objectives"]) == 1:
        lines.append(
            f"the table has values of {label(about, about['objectives'][0])} only: ranked by it alone"
        )
    if lost(kept).any() or any((kept[c] > 0).any() for c in kept if str(c).endswith("_lacking")):
        lines.append(
            f"{LACKING} what diverged, failed or is missing ranks last in its settings; means are over the rest"
        )
    if "ideal_5" in ranking:
        lines.append(
            "ideal FID at 5: what 5 steps and the guidance leave to a perfect network, one that has the training images by"
            " heart, beside the FID measured in the same settings"
        )
        known = int(ranking["ideal_5"].notna().sum())
        if known < len(ranking):
            lines.append(
                f"ideal FID at 5 is known of {known} of {count(len(ranking), 'formulation')}:"
                " the others lack it in some setting, or have no FID at 5 steps"
            )
    lines += untrained.lines(about["untrained"])
    for metric, found in about["recipes"].items():
        for name in sorted(set(found.values())):
            where = [d for d in found if found[d] == name]
            suffix = f" ({', '.join(where)})" if len(set(found.values())) > 1 else ""
            lines.append(f"{label(about, metric)}: {name}{suffix}")
    return [*lines, *data_lines(about), *yardsticks.left_out(ranking), *uncertainty_lines(ranking, about)]


def data_lines(about: Mapping[str, Any]) -> list[str]:
    """Distances from too few images, and captions that were cut."""
    lines = []
    for dataset, name in sorted(about["recipes"].get("fid", {}).items()):
        parts, given = schema.recipe(name), about["yardsticks"].get(dataset, {})
        known = yardsticks.of_recipe(given, about, dataset)
        least = max(LEAST_IMAGES, int(known.get("dimensions", 0)) + 1)
        counts = {"images": parts.get("n", ""), "references": parts.get("ref", "").rpartition("-")[2]}
        few = [f"{n} {what}" for what, n in counts.items() if n.isdecimal() and int(n) < least]
        if few:
            lines.append(
                f"FID of {dataset} is from {' and '.join(few)} only:"
                f" below {least} of each its value is mostly their number's"
            )
    for dataset, given in sorted(about["yardsticks"].items()):
        if given.get("captions_cut"):
            lines.append(
                f"{count(given['captions_cut'], 'caption')} of {dataset} cut: longer than the text encoder reads"
            )
    return lines


def provisional_lines(about: Mapping[str, Any]) -> list[str]:
    """What is still to come, and what cannot be read."""
    lines, left = [], about["provisional"]
    if left:
        blocks = [f"{d} seed {s}" for d, s in left["blocks"]]
        without = [
            f"{names(blocks)} of all formulations" if blocks else "",
            names(left["formulations"]) if left["formulations"] else "",
        ]
        told = " and ".join(filter(None, without))
        lines.append(f"provisional: {left['done']} of {left['cells']} cells are finished; left out: {told}")
    lines += [f"{damaged}; the grid command makes it again" for damaged in about["damaged"][:3]]
    if len(about["damaged"]) > 3:
        lines.append(f"{len(about['damaged']) - 3} more files cannot be read")
    return lines


def uncertainty_lines(ranking: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    """What differences the run could have told apart, and what the marks mean."""
    unknown, reasons = [], about["unknown"]
    for reason in dict.fromkeys(reasons.values()):
        what = [label(about, r) for r in reasons if reasons[r] == reason]
        unknown.append(f"no interval of {names(what)}: {reason}, so nothing tells how much a seed matters")
    if max(about["seed_counts"].values()) < 2:
        lines = [
            "resolution: one seed: nothing can be told apart by the noise of seeds, which only several seeds show"
        ]
        if "clip_low" in ranking or "fid_low" in ranking:
            lines.append(
                "±: half of a 95 % interval over captions and sampling noise of this one training; two seeds differ by more"
            )
        return lines
    if not about["resolution"]:
        few = (
            "of two formulations, and there is one"
            if len(ranking) == 1
            else "of two formulations in two seeds"
        )
        return unknown or [f"resolution: unknown, it needs every entry {few}"]
    lines = [
        f"place: 95 % interval of the position; {TIED} not separable from the best of its column (Hsu, family-wise 95 %)",
        "±: half of a 95 % interval of the mean over seeds; its part that all formulations share drops out of differences",
    ]
    if any(uneven(ranking, m).any() for m in declared.among(about) if f"{m}_low" in ranking and m in ranking):
        lines.append("[a, b]: both ends of the interval, where half of it would be far from either")
    if about["agreement"] is not None and about["agreement"] == about["agreement"]:
        lines.append(
            f"order: Kendall correlation {about['agreement']:.2f} on average with the true orders that these seeds allow"
        )
    lines += unknown
    for r in about["resolution"]:
        lines.append(resolution_line(r, label(about, r["response"])))
    if unknown := [label(about, r["response"]) for r in about["resolution"] if _draw_unknown(r)]:
        lines.append(
            f"{' and '.join(unknown)}: how much the one draw of captions and noise matters is not known here, only in a run"
            " folder with its cells; more seeds may not be enough"
        )
    if about["without_interval"]:
        lines.append(
            f"no interval for {names(about['without_interval'])}: not every entry of every seed is there"
        )
    return lines


def resolution_line(r: Mapping[str, Any], name: str) -> str:
    """One response: its noise, what could have been separated, and what the observed lead would need."""
    seeds = seed_count({"fewest": r["fewest"], "most": r["seeds"]})
    if not r["sigma"] > 0:
        return f"resolution, {name}: the same in all {seeds}, so nothing tells how much a seed matters"
    needed = r["seeds_needed"]
    if r["separated"]:
        more = "separated"
    elif beyond_seeds(r):
        more = "more samples, not more seeds, would separate it"
    elif needed is None:
        more = "over 1000 seeds would separate it"
    elif r["lead"] >= r["gap"]:
        more = "not separated, as these two are noisier than most"
    else:
        more = f"{max(needed, r['seeds'] + 1)} seeds would separate it"
    ends = f"[{r['correlation_low']:.2f}, {r['correlation_high']:.2f}]"
    shared = f", correlation {r['correlation']:.2f} {ends}" if r["correlation"] == r["correlation"] else ""
    return (
        f"resolution, {name}: sigma {_size(r, 'sigma')} over {seeds} ({r['df']:.0f} df){shared};"
        f" separable gap {_size(r, 'gap')}; runner-up {_size(r, 'lead')} behind: {more}"
    )


def beyond_seeds(r: Mapping[str, Any]) -> bool:
    """Whether no number of seeds separates the two best of a response, as they share one draw of captions and noise."""
    return r["draw"] is not None and r["lead"] <= r["draw"]


def _draw_unknown(r: Mapping[str, Any]) -> bool:
    """Whether a forecast of seeds for a sampled metric cannot tell where their number stops to matter."""
    return r["response"] in ("clip", "fid") and not r["separated"] and r["draw"] is None and r["sigma"] > 0


def _size(r: Mapping[str, Any], part: str) -> str:
    value = 100 * math.expm1(r[part]) if r["log"] else r[part]
    return f"{float(f'{value:.2g}'):,g}" + (" %" if r["log"] else "")


def _samples(about: Mapping[str, Any]) -> str:
    found_names = [name for metric in ("clip", "fid") for name in about["recipes"].get(metric, {}).values()]
    found = {schema.recipe(name).get("n") for name in found_names} - {None}
    if not found:
        return "number of images not stated"
    return f"{' or '.join(sorted(map(str, found)))} images per setting"


def lost(ranking: pd.DataFrame) -> pd.Series[bool]:
    """Which formulations lack entries."""
    return ranking[["diverged", "failed", "missing"]].sum(axis=1) > 0
