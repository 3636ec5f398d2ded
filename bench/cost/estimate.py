"""What a plan will cost: device-hours and disk, estimated before it is launched. No torch.

Operations are counted by formula (:mod:`bench.planning.requirements`), and divided by the rates of a device
(:mod:`bench.cost.price`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import encoders
from bench.config.experiment import Grid, Model
from bench.cost.price import Rates, names, rates
from bench.planning.plan import Planned
from bench.planning.requirements import Look, Requirements, by_cell
from bench.runfolder import store

START = 6.0
"""Seconds until a worker begins, about: Python, torch, the datasets, the first steps."""


@dataclass(frozen=True)
class Estimate:
    """Device-hours of all shares and of the longest one, bytes that stay and at most while everything trains at once, and
    what they were estimated from."""

    device_hours: float
    longest_hours: float
    disk_bytes: int
    peak_bytes: int
    how: str
    replicas: int = 1


def estimate(
    cells: Sequence[Planned],
    shares: Sequence[Sequence[Planned]],
    grid: Grid,
    here: bool = True,
    device: str = "auto",
    pack: int | None = None,
    tflops: float | None = None,
    replicas: int = 1,
    accumulate: int = 1,
    recompute: bool = False,
) -> Estimate:
    """What the unfinished cells of ``shares`` will cost; each share is one worker's.

    ``cells`` are all cells of the plan: finished ones show how long a cell of their size takes. Without any, steps are timed
    on ``device`` if workers run ``here``, with at most ``pack`` cells in one graph. A rate in ``tflops`` (10^12 operations a
    second of each device) overrides both. ``replicas`` share the training of a worker, in ``accumulate`` micro-batches
    each, and wait while one of them generates and measures; with ``recompute`` blocks are computed again in the backward
    pass.
    """
    look = by_cell(grid)
    todo = [[p for p in share if p.state not in ("done", "diverged")] for share in shares]
    todo = [share for share in todo if share]
    if not todo:
        return Estimate(0.0, 0.0, 0, 0, "nothing is left to run")
    found, how = rates(cells, todo, grid, look, here, device, pack, tflops, replicas * accumulate)
    hours = [share_seconds(share, look, found, replicas, recompute) / 3600 for share in todo]
    left = [p for share in todo for p in share]
    kept = sum(lasting_bytes(p, look) for p in left)
    peak = kept + sum(look(p.cell).checkpoint_files for p in left if p.state != "trained")
    if not encoders.get(grid.text).text_sizes():
        how += f"; text sizes as of CLIP ViT-L/14, those of {grid.text} cannot be read"
    return Estimate(replicas * sum(hours), max(hours), kept, peak, how, replicas)


def lasting_bytes(planned: Planned, look: Look) -> int:
    """Bytes that the unfinished work of a cell leaves."""
    requirements = look(planned.cell)
    return requirements.evaluation_files + (0 if planned.state == "trained" else requirements.weight_files)


def describe(estimate: Estimate, price: float | None = None) -> str:
    """The estimate in words, for example ``about 3.2 device-hours (from 6 finished cells ...), 1.4 GB kept, ...``, with what
    they cost at a ``price`` for each."""
    if not estimate.device_hours:
        return estimate.how
    several = estimate.longest_hours < 0.99 * estimate.device_hours
    longest = f", {duration(estimate.longest_hours)}s of them in the longest share" if several else ""
    if estimate.replicas > 1:
        longest = (
            f", the longest share takes {duration(estimate.longest_hours)}s on {estimate.replicas} devices"
        )
    money = f", {estimate.device_hours * price:,.2f} at {price:g} for each" if price else ""
    return (
        f"about {duration(estimate.device_hours, 'device-')}s ({estimate.how}){longest}{money}, "
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


def share_seconds(
    share: Sequence[Planned],
    look: Look,
    rates: Mapping[Model, Rates],
    replicas: int = 1,
    recompute: bool = False,
) -> float:
    """Seconds of one worker: its start, the captions and reference images of its datasets, and its cells, which its replicas
    train together."""
    total = START
    for cell in {p.cell.dataset: p.cell for p in share}.values():
        requirements, rate = look(cell), rates[cell.model]
        total += requirements.reference / rate.extraction + requirements.encoding / rate.encoding
    for p in share:
        requirements, rate = look(p.cell), rates[p.cell.model]
        if p.state != "trained":
            steps = p.cell.training.steps
            done = min(steps, max(store.checkpoint_steps(p.folder), default=0))
            work = requirements.training_operations(recompute)
            total += (1 - done / steps) * work / (replicas * rate.training)
        total += generation_left(p, requirements) / rate.evaluation + requirements.metrics / rate.extraction
    return total


def generation_left(planned: Planned, requirements: Requirements) -> float:
    """Operations of generating the images of a cell that are not there yet."""
    folder = planned.folder / f"images-{requirements.grid.evaluation.sampling}"
    there = names(folder) if planned.state == "trained" else ()
    return sum(o for name, o in requirements.generation.items() if f"{name}.safetensors" not in there)
