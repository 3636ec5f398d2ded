"""The lines under a ranking: what was measured, which entries are lost, and what differences could be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.ranking import real_rows, untrained_rows
from analysis.ranking.blocks import seed_count
from analysis.ranking.pending import Provisional
from analysis.ranking.result import Estimate, Facts, RankingResult
from analysis.ranking.smallest_gap import Resolution, out_of_reach
from analysis.runs import declared, schema
from analysis.tables.table import LACKING, TIED
from analysis.tables.wording import count, names

BY_FORMULATION = ("formulation", "base", "sampler")
"""Columns that tell formulations apart: among fewer of them, marks and intervals are others."""
LEAST_IMAGES = 100
"""Fewest images and references of a Fréchet distance that needs no remark; more if its features have as many dimensions,
since a covariance of n images has rank n - 1 at most."""


UNEVEN = 1.5
"""From this ratio of its two sides on both ends of an interval are shown."""


def headings(facts: Facts) -> dict[str, str]:
    """The columns of a ranking in the order in which they are shown; those of ``--by`` come after the 50-step column."""
    return {
        "rank_all": "rank all",
        "position": "place",
        "rank_5": "5 steps",
        "ideal_5": "ideal FID at 5",
        "rank_50": "50 steps",
        **{metric.name: metric.label for metric in facts.metrics if metric.ranked},
        "front_one": "on front 1",
        "wins": "beats leader",
        **{f"rank_{m}": f"by {facts.label(m)}" for m in declared.COMPARED if facts.metric(m)},
    }


def uneven(of: Estimate) -> NDArray[np.bool_]:
    """Whose interval is so far from symmetric that half of it would mislead."""
    if of.low is None or of.high is None:
        return np.zeros(len(of.value), dtype=bool)
    low, high = of.value - of.low, of.high - of.value
    return np.asarray(np.maximum(low, high) > UNEVEN * np.minimum(low, high))


def notes(found: RankingResult, shown: Sequence[str] | None = None) -> list[str]:
    """The lines under the table: settings, recipes, lost entries, seeds and resolution; ``shown`` names formulations."""
    facts, kept = found.facts, list(found.names if shown is None else shown)
    lines = [
        *provisional_lines(facts.provisional, facts.damaged),
        f"{count(facts.settings, 'setting')}: {', '.join(facts.datasets)};"
        f" {', '.join(facts.weights)} weights; steps:cfg {', '.join(s.key for s in facts.samplers)};"
        f" {seed_count(facts.seed_counts)}; {_samples(facts)}",
    ]
    lines += facts.stages
    if len(kept) < len(found.names):
        lines.append(
            f"{len(kept)} of {len(found.names)} ranked formulations; marks are those of the whole ranking"
        )
    if among := [c for c in facts.where if c.partition("=")[0] in BY_FORMULATION]:
        lines.append(f"only {names(among)}: ranked among themselves, as if there were no others")
    objectives = [facts.label(metric) for metric in facts.objectives]
    if facts.uncounted:
        lines.append(
            f"{count(facts.uncounted, 'more setting')} in which no formulation has {' and '.join(objectives)}: not ranked"
        )
    if len(objectives) == 1:
        lines.append(f"the table has values of {objectives[0]} only: ranked by it alone")
    partial = [c.lacking for c in found.columns.values() if c.lacking is not None]
    if found.lost[kept].any() or any((lacking[kept] > 0).any() for lacking in partial):
        lines.append(
            f"{LACKING} what diverged, failed or is missing ranks last in its settings; means are over the rest"
        )
    if "ideal_5" in found.columns:
        lines.append(
            "ideal FID at 5: what 5 steps and the guidance leave to a perfect network, one that has memorised the training"
            " images, next to the FID measured in the same settings"
        )
        known = int(found.value("ideal_5").notna().sum())
        if known < len(found.names):
            lines.append(
                f"ideal FID at 5 is known of {known} of {count(len(found.names), 'formulation')}:"
                " the others lack it in some setting, or have no FID at 5 steps"
            )
    lines += untrained_rows.lines(facts.untrained)
    for metric, recipes in facts.recipes.items():
        for name in sorted(set(recipes.values())):
            where = [d for d in recipes if recipes[d] == name]
            suffix = f" ({', '.join(where)})" if len(set(recipes.values())) > 1 else ""
            lines.append(f"{facts.label(metric)}: {name}{suffix}")
    return [*lines, *data_lines(facts), *real_rows.left_out(facts), *uncertainty_lines(found)]


def data_lines(facts: Facts) -> list[str]:
    """Distances from too few images, and captions that were cut."""
    lines, references = [], real_rows.of_recipe(facts)
    for dataset, name in sorted(facts.recipes.get("fid", {}).items()):
        parts, known = schema.recipe(name), references.get(dataset, {})
        least = max(LEAST_IMAGES, int(known.get("dimensions", 0)) + 1)
        counts = {"images": parts.get("n", ""), "references": parts.get("ref", "").rpartition("-")[2]}
        few = [f"{n} {what}" for what, n in counts.items() if n.isdecimal() and int(n) < least]
        if few:
            lines.append(
                f"FID of {dataset} is from {' and '.join(few)} only:"
                f" below {least} of each its value is mostly their number's"
            )
    for dataset, given in sorted(facts.real_scores.items()):
        if given.get("captions_cut"):
            lines.append(
                f"{count(given['captions_cut'], 'caption')} of {dataset} cut: longer than the text encoder reads"
            )
    return lines


def provisional_lines(left: Provisional | None, damaged: Sequence[str] = ()) -> list[str]:
    """Which cells are not finished, and which files cannot be read."""
    lines = []
    if left:
        blocks = [f"{d} seed {s}" for d, s in left.blocks]
        parts = [f"{names(blocks)} of all formulations" if blocks else "", names(left.formulations)]
        without = " and ".join(filter(None, parts))
        lines.append(f"provisional: {left.done} of {left.cells} cells are finished; left out: {without}")
    lines += [f"{file}; the grid command makes it again" for file in damaged[:3]]
    if len(damaged) > 3:
        lines.append(f"{len(damaged) - 3} more files cannot be read")
    return lines


def uncertainty_lines(found: RankingResult) -> list[str]:
    """What differences the run can separate, and what the marks mean."""
    facts, unknown = found.facts, []
    for reason in dict.fromkeys(facts.unknown.values()):
        what = [facts.label(r) for r, why in facts.unknown.items() if why == reason]
        unknown.append(f"no interval of {names(what)}: {reason}, so the noise of seeds is unknown")
    if facts.most_seeds < 2:
        lines = [
            "resolution: one seed: the noise of seeds is unknown, so that no difference can be compared with it"
        ]
        if any(found.columns[m].low is not None for m in ("clip", "fid")):
            lines.append(
                "±: half of a 95 % interval over captions and sampling noise of this one training; two seeds differ by more"
            )
        return lines
    if not facts.resolution:
        few = (
            "of two formulations, and there is one"
            if len(found.names) == 1
            else "of two formulations in two seeds"
        )
        return unknown or [f"resolution: unknown, it needs every entry {few}"]
    lines = [
        f"place: 95 % interval of the position; {TIED} not separable from the best of its column (Hsu, family-wise 95 %)",
        "±: half of a 95 % interval of the mean over seeds; its part that all formulations share drops out of differences",
    ]
    if any(uneven(found.columns[m.name]).any() for m in facts.metrics if m.name in found.columns):
        lines.append("[a, b]: both ends of the interval, where half of it would be far from either")
    if facts.agreement is not None and facts.agreement == facts.agreement:
        lines.append(
            f"order: Kendall correlation {facts.agreement:.2f} on average with the true orders that these seeds allow"
        )
    lines += unknown
    lines += [resolution_line(r, facts.label(r.response)) for r in facts.resolution]
    if labels := [facts.label(r.response) for r in facts.resolution if _draw_unknown(r)]:
        lines.append(
            f"{' and '.join(labels)}: how much the one draw of captions and noise matters is not known here, only in a run"
            " folder with its cells; more seeds may not be enough"
        )
    if facts.without_interval:
        lines.append(
            f"no interval for {names(facts.without_interval)}: not every entry of every seed is there"
        )
    return lines


def resolution_line(r: Resolution, name: str) -> str:
    """One response: its noise, what could have been separated, and what the observed lead would need."""
    seeds = seed_count({"fewest": r.fewest, "most": r.seeds})
    if not r.sigma > 0:
        return f"resolution, {name}: the same in all {seeds}, so the noise of seeds is unknown"
    needed = None if r.seeds_needed is None else max(r.seeds_needed, r.seeds + 1)
    if r.separated:
        more = "separated"
    elif r.beyond_seeds:
        more = "more samples, not more seeds, would separate it"
    elif needed is not None and r.lead >= r.gap:
        more = "not separated, as these two are noisier than most"
    else:
        more = out_of_reach(needed, r.seeds, "the two") or f"{needed} seeds would separate it"
    ends = f"[{r.correlation_low:.2f}, {r.correlation_high:.2f}]"
    shared = f", correlation {r.correlation:.2f} {ends}" if r.correlation == r.correlation else ""
    return (
        f"resolution, {name}: sigma {_size(r.sigma, r)} over {seeds} ({r.df:.0f} df){shared};"
        f" separable gap {_size(r.gap, r)}; runner-up {_size(r.lead, r)} behind: {more}"
    )


def _draw_unknown(r: Resolution) -> bool:
    """Whether a forecast of seeds for a sampled metric cannot tell where their number stops to matter."""
    return r.response in ("clip", "fid") and not r.separated and r.draw is None and r.sigma > 0


def _size(value: float, r: Resolution) -> str:
    value = 100 * math.expm1(value) if r.log else value
    return f"{float(f'{value:.2g}'):,g}" + (" %" if r.log else "")


def _samples(facts: Facts) -> str:
    found_names = [name for metric in ("clip", "fid") for name in facts.recipes.get(metric, {}).values()]
    found = {schema.recipe(name).get("n") for name in found_names} - {None}
    if not found:
        return "number of images not stated"
    return f"{' or '.join(sorted(map(str, found)))} images per setting"
