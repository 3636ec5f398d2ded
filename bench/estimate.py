"""What a plan will cost before it is launched: device-hours and disk. No torch, but in the process that times steps.

Operations are counted by formula (:mod:`bench.amounts`). How many are done in a second is told, for each size of model, by
finished cells of the same recipe in the run folder, else by steps timed here, else by a rate that is stated.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from bench import cores, store
from bench.amounts import SMALL, Amounts, Look, by_cell, text
from bench.config import Cell, Grid, Model
from bench.plan import Planned, kind
from samplers.errors import UserError

TFLOPS = 50.0
"""Operations a second that a device is taken to reach, in 10^12, where nothing tells."""
TFLOPS_CPU = 0.1
"""The same of a processor."""
START = 6.0
"""Seconds until a worker begins, about: Python, torch, the datasets, the first steps."""
MOST = 50
"""Finished cells that are read."""
PATIENCE = 120.0
"""Seconds that timing the steps of a size may take."""


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
    """Operations a second of a device while it trains, while it generates, and of the encoders of images and captions, which
    may be large where the generator is small."""

    training: float
    evaluation: float
    extraction: float
    encoding: float

    @classmethod
    def alike(cls, rate: float) -> Rates:
        """The same for all."""
        return cls(rate, rate, rate, rate)


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

    ``cells`` are all cells of the plan: those that are finished tell how long a cell of their size takes. Without any, steps
    are timed on ``device`` if the executor is local, with at most ``pack`` cells in one graph. A rate in ``tflops`` (10^12
    operations a second of each device) is taken before anything else.
    """
    look = by_cell(grid)
    todo = [[p for p in share if p.state not in ("done", "diverged")] for share in shares]
    todo = [share for share in todo if share]
    if not todo:
        return Estimate(0.0, 0.0, 0, 0, "nothing is left to run")
    found, how = rates(cells, todo, grid, look, executor, device, pack, tflops)
    hours = [share_seconds(share, look, found) / 3600 for share in todo]
    kept = peak = 0
    for p in (p for share in todo for p in share):
        kept += lasting_bytes(p, look)
        peak += 0 if p.state == "trained" else look(p.cell).checkpoint_files
    note = text(grid.text).note
    return Estimate(sum(hours), max(hours), kept, kept + peak, how + (f"; {note}" if note else ""))


def lasting_bytes(planned: Planned, look: Look) -> int:
    """Bytes that stay of what a cell has still to do."""
    amounts = look(planned.cell)
    return amounts.evaluation_files + (0 if planned.state == "trained" else amounts.weight_files)


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


def share_seconds(share: Sequence[Planned], look: Look, rates: Mapping[Model, Rates]) -> float:
    """Seconds of one worker: its start, the captions and reference images of its datasets, and its cells."""
    first = {p.cell.dataset: p.cell for p in share}
    total = START
    for cell in first.values():
        amounts, rate = look(cell), rates[cell.model]
        total += amounts.reference / rate.extraction + amounts.encoding / rate.encoding
    for p in share:
        amounts, rate = look(p.cell), rates[p.cell.model]
        if p.state == "trained":
            there = names(p.folder / f"images-{amounts.grid.evaluation.sampling}")
        else:
            there = set()
            total += untrained(p) * amounts.training / rate.training
        missing = sum(o for name, o in amounts.generation.items() if f"{name}.safetensors" not in there)
        total += missing / rate.evaluation + amounts.metrics / rate.extraction
    return total


def untrained(planned: Planned) -> float:
    """The share of a cell's training that no checkpoint holds."""
    found = (re.fullmatch(r"checkpoint-(\d+)\.safetensors", name) for name in names(planned.folder))
    last, steps = max((int(match[1]) for match in found if match), default=0), planned.cell.training.steps
    return 1 - min(steps, last) / steps


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
) -> tuple[dict[Model, Rates], str]:
    """The rates of every size of model by the best source that there is, and what that was."""
    models = list(dict.fromkeys(p.cell.model for share in todo for p in share))
    found: dict[Model, Rates] = {}
    told: list[str] = []
    reason = ""
    usual = (tflops or (TFLOPS_CPU if device == "cpu" else TFLOPS)) * 1e12
    if tflops is None:
        found, known = from_finished(cells, models, grid, look, usual)
        told += [known] * bool(found)
        lacking = [model for model in models if model not in found]
        if executor == "local" and lacking:
            timed = from_timing([largest(todo, model, look, pack) for model in lacking], device, usual)
            if isinstance(timed, str):
                reason = f"; steps could not be timed here: {timed}"
            else:
                found |= zip(lacking, timed[0], strict=True)
                told.append(timed[1])
    if any(model not in found for model in models):
        doubt = ", which small models do not reach" if usual == TFLOPS * 1e12 and tflops is None else ""
        told.append(f"by counting operations, at {usual / 1e12:g} TFLOP/s for each device{doubt}{reason}")
        found = dict.fromkeys(models, Rates.alike(usual)) | found
    return found, "; other sizes ".join(told)


def largest(
    todo: Sequence[Sequence[Planned]], model: Model, look: Look, pack: int | None
) -> tuple[Amounts, int]:
    """What a cell of a size takes, and how many such cells train in one graph at most."""
    groups = Counter((i, kind(p)) for i, share in enumerate(todo) for p in share if p.cell.model == model)
    (share, most), count = groups.most_common(1)[0]
    cell = next(p.cell for p in todo[share] if kind(p) == most)
    return look(cell), min(count, pack or count)


def from_finished(
    cells: Sequence[Planned], models: Sequence[Model], grid: Grid, look: Look, usual: float
) -> tuple[dict[Model, Rates], str]:
    """Rates by finished cells of this recipe in the run folder: medians over a few, all of one kind of device.

    A measured evaluation is generating and measuring in one, so both have its rate; else large encoders have the ``usual``.
    """
    facts = {
        model: [
            fact for folder, cell in finished(cells, model, grid) if (fact := measured(folder, look(cell)))
        ]
        for model in models
    }
    devices = Counter(name for known in facts.values() for name, _, _ in known)
    if not devices:
        return {}, ""
    device, count = devices.most_common(1)[0]
    told = f"from {count} finished cell{'s' * (count > 1)} of this recipe, on {device}"
    found, unmeasured = {}, False
    for model, known in facts.items():
        if training := [rate for name, rate, _ in known if name == device]:
            evaluation = [rate for name, _, rate in known if name == device and rate]
            unmeasured |= not evaluation
            rate = statistics.median(evaluation or training)
            image, text = (small(spec) for spec in (grid.evaluation.extractor, grid.text))
            measuring = rate if evaluation or image else max(rate, usual)
            encoding = rate if text else max(rate, usual)
            found[model] = Rates(statistics.median(training), rate, measuring, encoding)
    return found, told + ", the evaluation by its operations" * unmeasured


def finished(cells: Sequence[Planned], model: Model, grid: Grid) -> Iterator[tuple[Path, Cell]]:
    """A few cells of a size that have been trained, with their folders: of the plan, else others in the run folder."""
    ours = [p for p in cells if p.cell.model == model]
    for states in (("done",), ("trained", "diverged")):
        known = [p for p in ours if p.state in states]
        if known:
            yield from ((p.folder, p.cell) for p in known[:: -(-len(known) // MOST)])
            return
    planned, root = {p.folder.name for p in cells}, cells[0].folder.parent
    for name in islice(sorted(names(root) - planned), MOST):
        with suppress(UserError):
            cell = store.read_config(root / name / "config.json", "cell", Cell)
            same = cell.model == model and cell.training in grid.trainings
            if same and (cell.images, cell.text) == (grid.images, grid.text):
                yield root / name, cell


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


def small(spec: str) -> bool:
    """Whether an encoder is as small as the generators, and has their rate."""
    return spec.partition(":")[0] == SMALL


def from_timing(
    work: Sequence[tuple[Amounts, int]], device: str, usual: float
) -> tuple[list[Rates], str] | str:
    """Rates by steps and samples of each size with at most so many members, and how; or why there are none.

    Large encoders of images and captions are timed, too. All in a process of its own, which leaves the device free.
    """
    models = [
        {"shape": asdict(amounts.shape), "training": asdict(amounts.grid.training), "members": members}
        for amounts, members in work
    ]
    amounts = work[0][0]
    extractor, text = amounts.grid.evaluation.extractor, amounts.grid.text
    given = {"models": models, "resolution": amounts.grid.images.resolution}
    given |= {"extractor": None if small(extractor) else extractor, "text": None if small(text) else text}
    try:
        told = ask(given, device, PATIENCE * (len(work) + (not small(extractor)) + (not small(text))))
    except Untimed as error:
        return str(error)
    most = max(rate["members"] for rate in told["rates"])
    graph = f"{most} cells in one graph" if most > 1 else "a cell"
    sizes = f" of each of {len(work)} sizes" * (len(work) > 1)
    image, caption = told["extraction"], told["encoding"]
    found = [
        Rates(
            rate["training"],
            rate["evaluation"],
            amounts.extraction / image if image else rate["evaluation"],
            amounts.encoding_of_one / caption if caption else rate["evaluation"],
        )
        for rate in told["rates"]
    ]
    return found, f"from steps of {graph}{sizes} timed on {told['device']}"


def check_device(device: str) -> None:
    """Raises :class:`UserError` if a device that was named is not there, with the sentence of a worker."""
    if device not in ("auto", "cpu"):
        with suppress(Untimed):
            ask({"models": [], "resolution": 1, "extractor": None, "text": None}, device, PATIENCE)


class Untimed(Exception):
    """Why nothing could be timed."""


def ask(given: dict[str, Any], device: str, patience: float) -> dict[str, Any]:
    """What ``bench.rates`` answers in another process. Raises :class:`Untimed`, or :class:`UserError` for a mistake."""
    root = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bench.rates", device],
            input=json.dumps(given),
            env=cores.PASSIVE | os.environ | cores.environment(1, os.environ) | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=patience,
        )
    except subprocess.TimeoutExpired:
        raise Untimed(f"they took more than {patience:.0f} s") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        if last.startswith("error: "):  # the workers would end with it, too
            raise UserError(last.removeprefix("error: "))
        raise Untimed(last)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
