"""The workers that run, each in a line of a status: where, how far, how long still, and at what. No torch.

A heartbeat only tells what a worker is at, and that it is silent; it changes no state.
"""

from __future__ import annotations

import re

from bench import lease
from bench.estimate import duration
from bench.launch.activity import Doing
from bench.launch.supervisor import last_lines
from bench.situation import Situation
from bench.wording import many, table

WORKERS = 12
"""Workers that are told one by one."""


def running(now: Situation) -> list[str]:
    """A line for each worker; of many, for those that are silent or last."""
    doings = [d for d in now.doings if d.state == "running"]
    here = [d for d in doings if not d.cells or any(c in now.cells for c in d.cells)]
    lines = []
    if here:
        if len(here) > WORKERS:
            here.sort(key=lambda d: (d.silent <= lease.SILENT_SECONDS, progress(d)))
        told = f"{many(sum(len(now.unfinished(d)) for d in here), 'cell')} running"
        lines = [f"{told}, {many(len(here), 'worker')}", *table([row(now, d) for d in here[:WORKERS]])]
        if rest := here[WORKERS:]:
            low, high = progress(rest[0]), max(map(progress, rest))
            lines += [f"  and {many(len(rest), 'worker')} more, {low:.0%} to {high:.0%}"]
    if elsewhere := len(doings) - len(here):
        lines += [f"{many(elsewhere, 'worker')} at cells of other configurations in this folder"]
    return lines


def row(now: Situation, doing: Doing) -> tuple[str, ...]:
    """Who, where, how many cells, how far, how long still, and at what."""
    kept = lease.state(doing.submission, doing.index)
    several = f" #{doing.index}" if len(doing.submission.shares) > 1 else ""
    who = doing.job or f"pid {kept.get('pid', '?')}{several}"
    where = doing.node or str(kept.get("host", ""))
    cells = many(len(now.unfinished(doing)), "cell")
    begun = kept.get("state") == "running"
    if not begun or doing.beat.get("token") != kept.get("token") or doing.beat.get("stage") == "start":
        return who, where, cells, "", silent(doing) if begun else "", "starting"
    stage, pack, packs = doing.beat.get("stage"), doing.beat.get("pack", 0), doing.beat["packs"]
    what = f"{stage} {str(doing.beat.get('text', '')).partition(',')[0]}".rstrip()
    of_packs = f", pack {pack + 1} of {packs}" if packs > 1 else ""
    return who, where, cells, f"{progress(doing):.0%}", silent(doing) or remaining(doing), what + of_packs


def silent(doing: Doing) -> str:
    """``silent for 12 minutes``, if it is."""
    quiet = lease.SILENT_SECONDS < doing.silent < float("inf")
    return f"silent for {duration(doing.silent / 3600)}s" if quiet else ""


def progress(doing: Doing) -> float:
    """The share of a worker's packs that is done, between 0 and 1."""
    beat = doing.beat
    return min(1.0, float((beat.get("pack", 0) + beat.get("share", 0.0)) / max(1, beat.get("packs", 1))))


def remaining(doing: Doing) -> str:
    """``12 minutes left``, by the seconds that each half of a pack has taken this worker; nothing if it is too early."""
    beat, spent = doing.beat, doing.beat.get("seconds", {})
    pack, packs, share = beat["pack"], beat["packs"], beat["share"]
    trained, measured = pack + min(1.0, 2 * share), pack + max(0.0, 2 * share - 1)
    taught, sampled = spent.get("train", 0.0), spent.get("generate", 0.0) + spent.get("metrics", 0.0)
    own = trained - resumed(doing)
    if own < 0.01 or taught < 5:
        return ""
    hours = (packs - trained) * taught / own / 3600
    if measured < 0.1:
        return f"over {duration(hours)}s left"
    return f"{duration(hours + (packs - measured) * sampled / measured / 3600)}s left"


def resumed(doing: Doing) -> float:
    """Packs' trainings that this worker did not do itself since it went on from checkpoints, by its log."""
    log = last_lines(doing.submission.log_file(doing.index), 200)
    since = re.split(r"(?m)^pack 1 of ", log)[-1]
    steps = [int(step) for step in re.findall(r"(?m)^going on after step (\d+)", since)]
    return sum(steps) / doing.submission.grid.training.steps
