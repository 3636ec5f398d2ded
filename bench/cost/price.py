"""Operations that a device does in a second, for each size of model, by the best source that there is. No torch, but in the
process that times steps.

Finished cells of the same recipe in the run folder, else steps timed here, else a rate that is stated.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from bench import encoders
from bench.config.experiment import Cell, Grid, Model, Training
from bench.encoders import Encoder
from bench.machine import cores
from bench.planning.cells import plugins_of, trainings_of
from bench.planning.plan import Planned, kind
from bench.planning.requirements import Look, Requirements
from bench.runfolder import store
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.plugin import behind
from flowbench._core.terminal import many

TFLOPS = 50.0
"""10^12 operations a second: the rate of a device without any source."""
TFLOPS_CPU = 0.1
"""The same of a processor."""
MOST = 50
"""Finished cells that are read."""
SMALL = 1e8
"""Operations for one image or caption below which an encoder is as small as the generators."""
PATIENCE = 120.0
"""Seconds that timing the steps of a size may take."""


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


def rates(
    cells: Sequence[Planned],
    todo: Sequence[Sequence[Planned]],
    grid: Grid,
    look: Look,
    here: bool,
    device: str,
    pack: int | None,
    tflops: float | None,
    parts: int = 1,
) -> tuple[dict[Model, Rates], str]:
    """The rates of every size of model by the best source that there is, and what that was. Batches are divided into so many
    ``parts``."""
    models = list(dict.fromkeys(p.cell.model for share in todo for p in share))
    found: dict[Model, Rates] = {}
    sources: list[str] = []
    reason = ""
    usual = (tflops or (TFLOPS_CPU if device == "cpu" else TFLOPS)) * 1e12
    if tflops is None:
        found, source = from_finished(cells, models, grid, look, usual)
        sources += [source] * bool(found)
        lacking = [model for model in models if model not in found]
        if here and lacking:
            try:
                work = [largest(todo, model, look, pack) for model in lacking]
                timed, source = from_timing(work, device, parts)
                found |= zip(lacking, timed, strict=True)
                sources.append(source)
            except Untimed as error:
                reason = f"; steps could not be timed here: {error}"
    if any(model not in found for model in models):
        doubt = ", which small models do not reach" if usual == TFLOPS * 1e12 and tflops is None else ""
        sources.append(f"by counting operations, at {usual / 1e12:g} TFLOP/s for each device{doubt}{reason}")
        found = dict.fromkeys(models, Rates.alike(usual)) | found
    return found, "; other sizes ".join(sources)


def largest(
    todo: Sequence[Sequence[Planned]], model: Model, look: Look, pack: int | None
) -> tuple[Requirements, int]:
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
    facts = [
        (model, *fact)
        for model in models
        for folder, cell in finished(cells, model, grid)
        if (fact := measured(folder, look(cell)))
    ]
    if not facts:
        return {}, ""
    device, count = Counter(name for _, name, _, _ in facts).most_common(1)[0]
    source = f"from {many(count, 'finished cell')} of this recipe, on {device}"
    found, unmeasured = {}, False
    for model in models:
        known = [both for size, name, *both in facts if (size, name) == (model, device)]
        if not known:
            continue
        training, spent = zip(*known, strict=True)
        evaluation = [rate for rate in spent if rate]
        unmeasured |= not evaluation
        rate = statistics.median(evaluation or training)
        image = rate if evaluation or small(encoders.get(grid.evaluation.extractor)) else max(rate, usual)
        text = rate if small(encoders.get(grid.text)) else max(rate, usual)
        found[model] = Rates(statistics.median(training), rate, image, text)
    return found, source + ", the evaluation by its operations" * unmeasured


def finished(cells: Sequence[Planned], model: Model, grid: Grid) -> Iterator[tuple[Path, Cell]]:
    """A few cells of a size that have been trained, with their folders: of the plan, else others in the run folder."""
    for states in (("done",), ("trained", "diverged")):
        if known := [p for p in cells if p.cell.model == model and p.state in states]:
            yield from ((p.folder, p.cell) for p in known[:: -(-len(known) // MOST)])
            return
    planned, root = {p.folder.name for p in cells}, cells[0].folder.parent
    for name in islice(sorted(names(root) - planned), MOST):
        with suppress(UserError):
            cell = store.read_config(root / name / "config.json", "cell", Cell)
            same = cell.model == model and cell.training in trainings_of(grid)
            if same and (cell.images, cell.text) == (grid.images, grid.text):
                yield root / name, cell


def measured(folder: Path, requirements: Requirements) -> tuple[str, float, float | None] | None:
    """A cell's device, and its rates of training and, if it has been measured, of evaluation."""
    with suppress(atomic.Damaged):
        training = atomic.read_object(folder / "status.json").get("training") or {}
        if seconds := each(training):
            rate = None
            with suppress(atomic.Damaged):
                result = atomic.read_object(folder / requirements.grid.evaluation.id / "result.json")
                if spent := each(result.get("measuring") or {}):
                    rate = (sum(requirements.generation.values()) + requirements.metrics) / spent
            seconds *= training.get("replicas", 1)
            work = requirements.training_operations(training.get("recompute", False))
            return str(training.get("device", "this device")), work / seconds, rate
    return None


def each(facts: Mapping[str, Any]) -> float:
    """Seconds of one cell, by the facts of its pack; 0 without any."""
    return facts["seconds"] / facts["pack"] if facts else 0.0


def plugins(grid: Grid) -> list[str]:
    """The plugin files behind what is timed."""
    specs = grid.text, grid.evaluation.extractor
    parts = (behind(spec.partition(":")[0], ("encoder",)) for spec in specs)
    return [*plugins_of(grid.training), *(file for file in parts if file)]


def small(encoder: Encoder) -> bool:
    """Whether an encoder is as small as the generators, and has their rate."""
    return max(encoder.image_flops, encoder.caption_flops) < SMALL


def from_timing(work: Sequence[tuple[Requirements, int]], device: str, parts: int) -> tuple[list[Rates], str]:
    """Rates by steps and samples of each size with at most so many members, each step on one of the ``parts`` of a batch,
    and how they were found.

    Large encoders of images and captions are timed, too. All in a process of its own, which leaves the device free. Raises
    :class:`Untimed`.
    """
    requirements = work[0][0]
    extractor, text = (
        None if small(encoders.get(spec)) else spec
        for spec in (requirements.grid.evaluation.extractor, requirements.grid.text)
    )
    given = {
        "models": [
            {
                "shape": asdict(one.shape),
                "training": asdict(part_of(one.grid.training, parts)),
                "members": members,
            }
            for one, members in work
        ],
        "plugins": sorted({file for each, _ in work for file in plugins(each.grid)}),
        "resolution": requirements.grid.images.resolution,
        "extractor": extractor,
        "text": text,
    }
    answer = ask(given, device, PATIENCE * (len(work) + bool(extractor) + bool(text)))
    image, caption = answer["extraction"], answer["encoding"]
    found = [
        Rates(
            rate["training"],
            rate["evaluation"],
            requirements.extraction / image if image else rate["evaluation"],
            requirements.encoding_of_one / caption if caption else rate["evaluation"],
        )
        for rate in answer["rates"]
    ]
    most = max(rate["members"] for rate in answer["rates"])
    graph = f"{most} cells in one graph" if most > 1 else "a cell"
    sizes = f" of each of {len(work)} sizes" * (len(work) > 1)
    return found, f"from steps of {graph}{sizes} timed on {answer['device']}"


def part_of(training: Training, parts: int) -> Training:
    """A training on a part of each batch."""
    return replace(training, batch=training.batch // parts)


def check_device(device: str) -> None:
    """Raises :class:`UserError` if a device that was named is not there, with the sentence of a worker."""
    nothing: dict[str, Any] = {"models": [], "plugins": [], "resolution": 1, "extractor": None, "text": None}
    if device not in ("auto", "cpu"):
        with suppress(Untimed):
            ask(nothing, device, PATIENCE)


class Untimed(Exception):
    """Why nothing could be timed."""


def ask(given: dict[str, Any], device: str, patience: float) -> dict[str, Any]:
    """The answer of ``bench.speed.device_rates`` in another process.

    Raises :class:`Untimed`, or :class:`UserError` for a mistake.
    """
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "bench.speed.device_rates", device],
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
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def names(folder: Path) -> set[str]:
    """The files of a folder; none if it is not there."""
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()
