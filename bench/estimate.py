"""What a plan will cost before it is launched: device-hours and disk. No torch, but in the process that times steps.

Operations are counted by formula (:mod:`bench.amounts`). How many are done in a second is told by finished cells of the
same recipe in the run folder, else by steps timed here, else by a rate that is stated.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from bench import store
from bench.amounts import Amounts, text
from bench.config import Cell, Grid, full
from bench.plan import Planned

TFLOPS = 50.0
"""Operations a second that a device is taken to reach, in 10^12, where nothing tells."""
TFLOPS_CPU = 0.1
"""The same of a processor."""
START = 6.0
"""Seconds until a worker begins, about: Python, torch, the datasets, the first steps."""
MOST = 50
"""Finished cells that are read."""
PATIENCE = 120.0
"""Seconds that timing steps may take."""

Look = Callable[[str], Amounts]
"""What the cells of a dataset take."""


@dataclass(frozen=True)
class Estimate:
    """Device-hours of all shares and of the longest one, bytes that stay and at most while everything trains at once, and
    what they were estimated from."""

    device_hours: float
    longest_hours: float
    disk_bytes: int
    peak_bytes: int
    how: str


@dataclass(frozen=True)
class Rates:
    """Operations a second of a device while it trains, and while it generates and measures, and where they are from."""

    training: float
    evaluation: float
    how: str


def estimate(
    cells: Sequence[Planned],
    shares: Sequence[Sequence[Planned]],
    grid: Grid,
    executor: Literal["local", "slurm"] = "local",
    device: str = "auto",
    pack: int | None = None,
    tflops: float | None = None,
) -> Estimate:
    """What the unfinished cells of ``shares`` will cost; each share is one worker's.

    ``cells`` are all cells of the plan: those that are finished tell how long a cell takes. Without any, steps are timed
    on ``device`` if the executor is local, with at most ``pack`` cells in one graph. A rate in ``tflops`` (10^12 operations
    a second of each device) is taken before anything else.
    """
    look: Look = cache(lambda dataset: Amounts(grid, dataset))
    todo = [[p for p in share if p.state not in ("done", "diverged")] for share in shares]
    todo = [share for share in todo if share]
    if not todo:
        return Estimate(0.0, 0.0, 0, 0, "nothing is left to run")
    found = rates(cells, todo, grid, look, executor, device, pack, tflops)
    hours = [share_seconds(share, look, found) / 3600 for share in todo]
    kept = peak = 0
    for p in (p for share in todo for p in share):
        amounts, trained = look(p.cell.dataset), p.state == "trained"
        kept += amounts.evaluation_files + (0 if trained else amounts.weight_files)
        peak += 0 if trained else amounts.checkpoint_files
    note = text(grid.text).note
    return Estimate(sum(hours), max(hours), kept, kept + peak, found.how + (f"; {note}" if note else ""))


def describe(estimate: Estimate) -> str:
    """The estimate in words, for example ``about 3.2 device-hours (from 6 finished cells ...), 1.4 GB kept, ...``."""
    if not estimate.device_hours:
        return estimate.how
    several = estimate.longest_hours < 0.99 * estimate.device_hours
    longest = f", {duration(estimate.longest_hours)}s of them in the longest share" if several else ""
    return (
        f"about {duration(estimate.device_hours, 'device-')}s ({estimate.how}){longest}, "
        f"{size(estimate.disk_bytes)} kept, at most {size(estimate.peak_bytes)} while training"
    )


def duration(hours: float, prefix: str = "") -> str:
    """``3.2 hour``, or in minutes or seconds, without the plural's s."""
    unit, each = next(
        (u for u in (("hour", 1.0), ("minute", 1 / 60)) if hours >= 2 * u[1]), ("second", 1 / 3600)
    )
    return f"{hours / each:,.{1 if hours < 10 * each else 0}f} {prefix}{unit}"


def size(count: float) -> str:
    """``1.4 GB``."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1000:.3g} TB"


def share_seconds(share: Sequence[Planned], look: Look, rates: Rates) -> float:
    """Seconds of one worker: its start, the reference images of its datasets, and its cells."""
    total = START + sum(look(d).reference for d in {p.cell.dataset for p in share}) / rates.evaluation
    for p in share:
        amounts = look(p.cell.dataset)
        if p.state == "trained":
            there = names(p.folder / f"images-{amounts.grid.evaluation.sampling}")
        else:
            there = set()
            total += untrained(p, amounts.grid.training.steps) * amounts.training / rates.training
        missing = sum(o for name, o in amounts.generation.items() if f"{name}.safetensors" not in there)
        total += (missing + amounts.metrics) / rates.evaluation
    return total


def untrained(planned: Planned, steps: int) -> float:
    """The share of a cell's training that no checkpoint holds."""
    found = (re.fullmatch(r"checkpoint-(\d+)\.safetensors", name) for name in names(planned.folder))
    return 1 - min(steps, max((int(match[1]) for match in found if match), default=0)) / steps


def names(folder: Path) -> set[str]:
    """The files of a folder; none if it is not there."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def rates(
    cells: Sequence[Planned],
    todo: Sequence[Sequence[Planned]],
    grid: Grid,
    look: Look,
    executor: str,
    device: str,
    pack: int | None,
    tflops: float | None,
) -> Rates:
    """The rates of the best source that there is."""
    reason = ""
    if tflops is None:
        if found := from_finished(cells, grid, look):
            return found
        if executor == "local":
            largest = max(todo, key=lambda share: (len(share), share[0].cell.dataset))
            members = min(len(largest), pack or len(largest))
            timed = from_timing(look(largest[0].cell.dataset), device, members)
            if isinstance(timed, Rates):
                return timed
            reason = f"; steps could not be timed here: {timed}"
    rate = tflops or (TFLOPS_CPU if device == "cpu" else TFLOPS)
    doubt = ", which small models do not reach" if rate == TFLOPS and tflops is None else ""
    told = f"by counting operations, at {rate:g} TFLOP/s for each device{doubt}{reason}"
    return Rates(rate * 1e12, rate * 1e12, told)


def from_finished(cells: Sequence[Planned], grid: Grid, look: Look) -> Rates | None:
    """Rates by finished cells of this recipe in the run folder: medians over a few, all of one kind of device."""
    facts = [fact for folder, dataset in finished(cells, grid) if (fact := measured(folder, look(dataset)))]
    if not facts:
        return None
    device = Counter(name for name, _, _ in facts).most_common(1)[0][0]
    training = [rate for name, rate, _ in facts if name == device]
    evaluation = [rate for name, _, rate in facts if name == device and rate]
    told = f"from {len(training)} finished cell{'s' * (len(training) > 1)} of this recipe, on {device}"
    if not evaluation:
        told += ", the evaluation by its operations"
    median = statistics.median(training)
    return Rates(median, statistics.median(evaluation) if evaluation else median, told)


def finished(cells: Sequence[Planned], grid: Grid) -> Iterator[tuple[Path, str]]:
    """Folders and datasets of a few cells that have been trained: of the plan, else others in the run folder."""
    for states in (("done",), ("trained", "diverged")):
        known = [p for p in cells if p.state in states]
        if known:
            yield from ((p.folder, p.cell.dataset) for p in known[:: -(-len(known) // MOST)])
            return
    planned, root = {p.folder.name for p in cells}, cells[0].folder.parent
    wanted = full(Cell("", "", 0, grid.model, grid.images, grid.training, grid.text))
    for name in islice(sorted(names(root) - planned), MOST):
        with suppress(store.Damaged):
            kept = store.read_object(root / name / "config.json").get("cell")
            if isinstance(kept, dict) and all(
                kept.get(part) == wanted[part] for part in ("model", "images", "training", "text")
            ):
                yield root / name, str(kept.get("dataset"))


def measured(folder: Path, amounts: Amounts) -> tuple[str, float, float | None] | None:
    """A cell's device, and its rates of training and, if it has been measured, of evaluation."""
    with suppress(store.Damaged):
        training: Any = store.read_object(folder / "status.json").get("training")
        if seconds := each(training):
            result, rate = folder / amounts.grid.evaluation.id / "result.json", None
            with suppress(store.Damaged):
                if spent := each(store.read_object(result).get("measuring")):
                    rate = (sum(amounts.generation.values()) + amounts.metrics) / spent
            return str(training.get("device", "this device")), amounts.training / seconds, rate
    return None


def each(facts: Any) -> float | None:
    """Seconds of one cell by what was noted of its pack; None if nothing sound was."""
    kept = facts if isinstance(facts, dict) else {}
    seconds, pack = kept.get("seconds"), kept.get("pack")
    if not isinstance(seconds, int | float) or not isinstance(pack, int) or seconds <= 0 or pack <= 0:
        return None
    return seconds / pack


def from_timing(amounts: Amounts, device: str, members: int) -> Rates | str:
    """Rates by steps and samples timed in a process of their own, which leaves the device free; or why there are none."""
    given = {"shape": asdict(amounts.shape), "training": asdict(amounts.grid.training)}
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.rates", device, str(members)],
            input=json.dumps(given),
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"they took more than {PATIENCE:.0f} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    told = json.loads(done.stdout.splitlines()[-1])
    graph = f"{told['members']} cells in one graph" if told["members"] > 1 else "a cell"
    return Rates(told["training"], told["evaluation"], f"from steps of {graph} timed on {told['device']}")
