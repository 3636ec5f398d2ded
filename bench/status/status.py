"""``--status`` and ``--watch``: cells done, running, queued and failed, why, and what to do about it. No torch.

Short, to be read the next morning: every part is there only if it has content.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import get_args

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.launch import launchers
from bench.launch.activities import Activity
from bench.launch.supervisor import last_lines
from bench.planning.labels import block, names
from bench.planning.plan import ENDED, Plan, Planned, State
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.failure import Failure
from bench.status import plan_state
from bench.status.plan_state import PlanState
from bench.status.running import running
from flowbench._core import atomic
from flowbench._core.terminal import many, short, width, wrapped

log = logging.getLogger(__name__)

CAUSES, FRAMES, TAIL = 8, 6, 4
"""Causes that have lines of their own; lines of a traceback, and of a log."""
ALIKE = ("held back", "not written", "broken", "refused")
"""Endings whose reasons may differ in a number or a file: one entry for each cause."""
NOTES: dict[State, str] = {
    "stale": "begun, and no worker has it",
    "trained": "not yet measured with this evaluation",
}
STYLES = {
    r"(?m)^\d+ cells? (failed|lost|killed|broken|refused|not written|held back)\b": "bold red",
    r"(?m)^\d+ cells? (queued|stopped|cancelled|diverged)\b": "yellow",
    r"(?m)^\d+ cells? running\b": "green",
    r"(?m)^next:": "bold",
}


def counts(planned: Plan) -> str:
    """``10 done, 2 failed, 6 running``."""
    found = planned.counts()
    return ", ".join(f"{found[state]} {state}" for state in get_args(State) if state in found)


def show(planned: Plan) -> int:
    """Print the status once; returns the exit code."""
    now = plan_state.look(planned, {})
    Console().print(styled(describe(now, "--status")), soft_wrap=True)
    return now.code


def watch(planned: Plan, seconds: float = 5.0) -> int:
    """Print the status again and again until no worker is left, without a terminal only when something has happened.

    Returns the exit code.
    """
    console = Console()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    ended: dict[tuple[str, str], str] = {}
    printed: object = None
    try:
        if live:
            live.start()
        while True:
            now = plan_state.look(planned, ended)
            planned = now.plan
            text = styled(describe(now, "--watch"))
            if live:
                live.update(text, refresh=True)
            elif (came := gist(now)) != printed:
                printed = came
                console.print(Text(f"[{time.strftime('%H:%M:%S')}]"), text, "", sep="\n", soft_wrap=True)
            if not now.busy:
                return now.code
            time.sleep(seconds)
    except KeyboardInterrupt:
        log.info("no longer watched; the workers continue")
        return 130
    finally:
        if live:
            live.stop()


def gist(now: PlanState) -> object:
    """All that changes when something has happened, but not with every step."""
    surveyed = [(d.state, d.ending, d.reason, d.silent > lease.SILENT_SECONDS) for d in now.surveyed]
    return [p.state for p in now.plan.cells], surveyed, now.trouble


def styled(text: str) -> Text:
    """Colours for a terminal."""
    found = Text(text)
    for pattern, style in STYLES.items():
        found.highlight_regex(pattern, style)
    return found


def describe(now: PlanState, option: str) -> str:
    """The whole status; ``option`` is the user's, ``--status`` or ``--watch``."""
    planned, found = now.plan, now.plan.counts()
    notes = [f"  {state}: {note}" for state, note in NOTES.items() if state in found]
    what = f"{many(len(planned.cells), 'cell')} in {short(planned.out)}:"
    apart = cell_len(what) + len(counts(planned)) >= width()
    parts = [
        *([what, f"  {counts(planned)}"] if apart else [f"{what} {counts(planned)}"]),
        *notes,
        *running(now),
        *queued(now),
        *failed(now),
        *left(now),
        *diverged(now),
        *(wrapped(f"by the files alone: {now.trouble}") if now.trouble else []),
        *wrapped(what_next(now, option)),
    ]
    return "\n".join(parts)


def queued(now: PlanState) -> list[str]:
    """The number of cells that wait, and for what."""
    groups: dict[str, list[Activity]] = {}
    for activity in now.surveyed:
        if activity.state == "queued" and now.unfinished(activity):
            groups.setdefault(activity.reason, []).append(activity)
    lines = []
    for reason, surveyed in sorted(groups.items(), key=lambda item: -len(item[1])):
        waiting = many(sum(len(now.unfinished(d)) for d in surveyed), "cell")
        amount = f"{waiting} queued, {many(len(surveyed), 'worker')}"
        why = (reason if reason != "None" else "") or ("" if surveyed[0].job else "waits for a free slot")
        hint = hinted(surveyed[0], reason)
        lines += wrapped(amount + f": {why}" * bool(why) + f" ({hint})" * bool(hint))
    return lines


def failed(now: PlanState) -> list[str]:
    """Failed cells by cause: the error, the cells, where it was raised, and where to read more."""
    causes: dict[str, list[tuple[Planned, str]]] = {}
    for p in now.plan.cells:
        if p.state == "failed":
            with suppress(atomic.Damaged):
                failure = Failure.read(atomic.read_object(p.folder / "status.json").get("error"))
                failure = failure or Failure("", "the cause is not known", "")
                causes.setdefault(failure.cause, []).append((p, " ".join(failure.message.split())))
    ordered = sorted(causes.values(), key=lambda found: -len(found))
    lines = []
    for group in ordered[:CAUSES]:
        (first, error), cells = group[0], [p for p, _ in group]
        story = innermost(first.folder / "error.txt", error, now.plan.out)
        had = now.newest.get(first.folder.name)
        log = log_of(had) if had else None
        files = [first.folder / "error.txt", *([log] if log else [])]
        lines += block("failed", cells, error, now.plan, story, files)
    if rest := ordered[CAUSES:]:
        lines += [f"{many(sum(map(len, rest)), 'cell')} failed: {many(len(rest), 'more cause')}"]
    return lines


def left(now: PlanState) -> list[str]:
    """Cells that a worker left behind, by how it ended."""
    groups: dict[tuple[str, str], list[tuple[Planned, Activity, str]]] = {}
    for p, d in now.left:
        word, why = ending(d, now.ended.get(d.name, ""))
        if word:
            groups.setdefault((word, d.cause if word in ALIKE else why), []).append((p, d, why))
    lines = []
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    for (word, _), group in ordered[:CAUSES]:
        _, activity, why = group[0]
        log = log_of(activity) if word in ("lost", "killed", "not written") else None
        if word == "broken":
            log = submissions.error_file(activity.submission.folder, activity.index)
        story = [line for line in last_lines(log, TAIL).splitlines() if line.strip()] if log else []
        lines += block(word, [p for p, *_ in group], why, now.plan, story, [log] if log else [])
    if rest := ordered[CAUSES:]:
        lines += [
            f"{many(sum(len(group) for _, group in rest), 'cell')} left for {many(len(rest), 'more reason')}"
        ]
    return lines


def ending(activity: Activity, reported: str) -> tuple[str, str]:
    """A word and a reason for how a worker left cells behind, ``reported`` by its launcher; no word for an ordinary end."""
    if activity.submission.cancelled:
        return "cancelled", ""
    if activity.ending == "saved":
        return "stopped and saved", ", ".join(filter(None, [activity.reason, reported]))
    if activity.ending in ("held", "unwritable"):
        return {"held": "held back", "unwritable": "not written"}[activity.ending], activity.reason
    hint = hinted(activity, reported)
    reported += f" ({hint})" * bool(hint)
    return (activity.ending, reported or activity.reason) if activity.ending in plan_state.BAD else ("", "")


def diverged(now: PlanState) -> list[str]:
    """One line of names."""
    cells = [p for p in now.plan.cells if p.state == "diverged"]
    start = f"{many(len(cells), 'cell')} diverged: "
    return [start + names(cells, now.plan, width() - len(start))] if cells else []


def what_next(now: PlanState, option: str) -> str:
    """The next command, if any."""
    every = (*now.plan.parents, *now.plan.cells)
    if not now.surveyed and not any(p.state in ENDED for p in every):
        return f"nothing has been submitted: without {option} the same command begins"
    stuck = now.plan.stuck()
    ready = [p for p in now.plan.ready() if p.folder.name not in stuck]
    again = f"trains diverged cells, and {many(len(stuck), 'cell')} after them, again"
    more = f"; '--retry all' {again}" if stuck else ""
    if any(p.state == "failed" and p.folder.name not in stuck for p in now.plan.cells):
        others = f" and {many(len(ready), 'other')}" if ready else ""
        return f"next: '--retry failed' instead of {option} runs the failed cells{others}{more}"
    if ready:
        return f"next: without {option} the same command continues with {many(len(ready), 'cell')}{more}"
    if stuck:
        return f"next: '--retry all' instead of {option} {again}"
    return "" if now.busy else f"next: without {option} the same command ranks them"


def log_of(activity: Activity) -> Path | None:
    """The log of a worker, or else of its task."""
    submission = activity.submission
    outside = launchers.of(submission).outputs(submission, activity.index, activity.job)
    with suppress(OSError):  # a folder of the launcher's may be its owner's only
        found = (submission.log_file(activity.index), *outside)
        return next((file for file in found if file.exists() and file.stat().st_size), None)
    return None


def innermost(file: Path, error: str, out: Path) -> list[str]:
    """The last lines of a traceback, without marks under the code and the path of the code's snapshot."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    text = re.sub(re.escape(str(out / "code")) + "/[0-9a-f]+/", "", text)
    lines = [line for line in text.splitlines() if line.strip(" ~^") and not line.startswith("Traceback (")]
    while lines and " ".join(lines[-1].split()) in error:
        lines.pop()
    return lines[-FRAMES:]


def hinted(activity: Activity, reason: str) -> str:
    """Advice on a reason of its launcher."""
    hints = launchers.of(activity.submission).hints
    return next((h for start, h in hints.items() if reason.startswith(start)), "").replace(
        "JOB", activity.job
    )
