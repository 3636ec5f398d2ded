"""The workers that run, a line of a status for each: where, how far, the time left, and the present work. No torch.

A heartbeat shows the work of a worker, and its silence; it changes no state.
"""

from __future__ import annotations

from bench.cost.effort import left, progress
from bench.cost.estimate import duration
from bench.launch.activity import Doing
from bench.runfolder import lease
from bench.status.situation import Situation
from flowbench._core.terminal import many, table

WORKERS = 12
"""Workers that have a line of their own."""


def running(now: Situation) -> list[str]:
    """A line for each worker; of many, for the silent ones and the slowest."""
    doings = [d for d in now.doings if d.state == "running"]
    here = [d for d in doings if not d.cells or any(c in now.cells for c in d.cells)]
    lines = []
    if here:
        if len(here) > WORKERS:
            here.sort(key=lambda d: (d.silent <= lease.SILENT_SECONDS, progress(d.beat)))
        cells = many(sum(len(now.unfinished(d)) for d in here), "cell")
        lines = [f"{cells} running, {many(len(here), 'worker')}"]
        lines += table([row(now, d) for d in here[:WORKERS]])
        if rest := here[WORKERS:]:
            low, high = progress(rest[0].beat), max(progress(d.beat) for d in rest)
            lines += [f"  and {many(len(rest), 'worker')} more, {low:.0%} to {high:.0%}"]
    if elsewhere := len(doings) - len(here):
        lines += [f"{many(elsewhere, 'worker')} at cells of other configurations in this folder"]
    return lines


def row(now: Situation, doing: Doing) -> tuple[str, ...]:
    """Job or process, node, number of cells, threads, how far, time left or silence, and the present work."""
    kept, beat = lease.state(doing.submission, doing.index), doing.beat
    several = f" #{doing.index}" if len(doing.submission.shares) > 1 else ""
    place = (
        doing.job or f"pid {kept.get('pid', '?')}{several}",
        doing.node or str(kept.get("host", "")),
        many(len(now.unfinished(doing)), "cell"),
    )
    begun, own = kept.get("state") == "running", beat.get("token") == kept.get("token")
    if not begun or not own or beat["stage"] == "start":
        present = (
            starting(doing) if own else "starting"
        )  # the heartbeat of an earlier start shows nothing of this one
        return *place, "", "", silent(doing) if begun else "", present
    threads, packs = beat.get("threads"), beat["packs"]
    of_packs = f", pack {beat['pack'] + 1} of {packs}" if packs > 1 else ""
    return (
        *place,
        many(threads, "thread") if threads else "",
        f"{progress(beat):.0%}",
        silent(doing) or left(beat),
        f"{beat['stage']} {beat['text'].partition(',')[0]}".rstrip() + of_packs,
    )


def starting(doing: Doing) -> str:
    """``starting``, and with what."""
    text = doing.beat.get("text")
    return f"starting: {text}" if text else "starting"


def silent(doing: Doing) -> str:
    """``silent for 12 minutes``, if it is."""
    quiet = lease.SILENT_SECONDS < doing.silent < float("inf")
    return f"silent for {duration(doing.silent / 3600)}s" if quiet else ""
