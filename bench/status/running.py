"""The workers that run, a line of a status for each: where, how far, the time left, and the present work. No torch.

A heartbeat shows the work of a worker, and its silence; it changes no state.
"""

from __future__ import annotations

from bench.cost.estimate import duration
from bench.cost.workload import left, progress
from bench.launch.activities import Activity
from bench.runfolder import lease
from bench.status.plan_state import PlanState
from flowbench._core.terminal import many, table

WORKERS = 12
"""Workers that have a line of their own."""


def running(now: PlanState) -> list[str]:
    """A line for each worker; of many, for the silent ones and the slowest."""
    surveyed = [d for d in now.surveyed if d.state == "running"]
    here = [d for d in surveyed if not d.cells or any(c in now.cells for c in d.cells)]
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
    if elsewhere := len(surveyed) - len(here):
        lines += [f"{many(elsewhere, 'worker')} at cells of other configurations in this folder"]
    return lines


def row(now: PlanState, activity: Activity) -> tuple[str, ...]:
    """Job or process, node, number of cells, threads, how far, time left or silence, and the present work."""
    kept, beat = lease.state(activity.submission, activity.index), activity.beat
    several = f" #{activity.index}" if len(activity.submission.shares) > 1 else ""
    place = (
        activity.job or f"pid {kept.get('pid', '?')}{several}",
        activity.node or str(kept.get("host", "")),
        many(len(now.unfinished(activity)), "cell"),
    )
    begun, own = kept.get("state") == "running", beat.get("token") == kept.get("token")
    if not begun or not own or beat["stage"] == "start":
        present = (
            starting(activity) if own else "starting"
        )  # the heartbeat of an earlier start shows nothing of this one
        return *place, "", "", silent(activity) if begun else "", present
    threads, packs = beat.get("threads"), beat["packs"]
    of_packs = f", pack {beat['pack'] + 1} of {packs}" if packs > 1 else ""
    return (
        *place,
        many(threads, "thread") if threads else "",
        f"{progress(beat):.0%}",
        silent(activity) or left(beat),
        f"{beat['stage']} {beat['text'].partition(',')[0]}".rstrip() + of_packs,
    )


def starting(activity: Activity) -> str:
    """``starting``, and with what."""
    text = activity.beat.get("text")
    return f"starting: {text}" if text else "starting"


def silent(activity: Activity) -> str:
    """``silent for 12 minutes``, if it is."""
    quiet = lease.SILENT_SECONDS < activity.silent < float("inf")
    return f"silent for {duration(activity.silent / 3600)}s" if quiet else ""
