"""The workers that run, each in a line of a status: where, how far, how long still, and at what. No torch.

A heartbeat only tells what a worker is at, and that it is silent; it changes no state.
"""

from __future__ import annotations

from bench.cost.effort import left, progress
from bench.cost.estimate import duration
from bench.launch.activity import Doing
from bench.runfolder import lease
from bench.status.situation import Situation
from flowbench._core.terminal import many, table

WORKERS = 12
"""Workers that are told one by one."""


def running(now: Situation) -> list[str]:
    """A line for each worker; of many, for those that are silent or last."""
    doings = [d for d in now.doings if d.state == "running"]
    here = [d for d in doings if not d.cells or any(c in now.cells for c in d.cells)]
    lines = []
    if here:
        if len(here) > WORKERS:
            here.sort(key=lambda d: (d.silent <= lease.SILENT_SECONDS, progress(d.beat)))
        told = f"{many(sum(len(now.unfinished(d)) for d in here), 'cell')} running"
        lines = [f"{told}, {many(len(here), 'worker')}", *table([row(now, d) for d in here[:WORKERS]])]
        if rest := here[WORKERS:]:
            low, high = progress(rest[0].beat), max(progress(d.beat) for d in rest)
            lines += [f"  and {many(len(rest), 'worker')} more, {low:.0%} to {high:.0%}"]
    if elsewhere := len(doings) - len(here):
        lines += [f"{many(elsewhere, 'worker')} at cells of other configurations in this folder"]
    return lines


def row(now: Situation, doing: Doing) -> tuple[str, ...]:
    """Who, where, how many cells, with how many threads, how far, how long still, and at what."""
    kept = lease.state(doing.submission, doing.index)
    several = f" #{doing.index}" if len(doing.submission.shares) > 1 else ""
    who = doing.job or f"pid {kept.get('pid', '?')}{several}"
    where = doing.node or str(kept.get("host", ""))
    cells = many(len(now.unfinished(doing)), "cell")
    begun = kept.get("state") == "running"
    if not begun or doing.beat.get("token") != kept.get("token") or doing.beat.get("stage") == "start":
        return who, where, cells, "", "", silent(doing) if begun else "", starting(doing)
    stage, pack, packs = doing.beat.get("stage"), doing.beat.get("pack", 0), doing.beat["packs"]
    what = f"{stage} {str(doing.beat.get('text', '')).partition(',')[0]}".rstrip()
    threads = doing.beat.get("threads")
    of_packs = f", pack {pack + 1} of {packs}" if packs > 1 else ""
    return (
        who,
        where,
        cells,
        many(threads, "thread") if isinstance(threads, int) else "",
        f"{progress(doing.beat):.0%}",
        silent(doing) or left(doing.beat),
        what + of_packs,
    )


def starting(doing: Doing) -> str:
    """``starting``, and with what."""
    text = str(doing.beat.get("text", ""))
    return f"starting: {text}" if text else "starting"


def silent(doing: Doing) -> str:
    """``silent for 12 minutes``, if it is."""
    quiet = lease.SILENT_SECONDS < doing.silent < float("inf")
    return f"silent for {duration(doing.silent / 3600)}s" if quiet else ""
