"""``python -m bench.composition``: the ceiling and the floors of :mod:`bench.metrics.compositional_accuracy` and
:mod:`bench.metrics.geneval_tasks`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.config.seeds import seed_for
from bench.data import shapes
from bench.metrics.compositional_accuracy import PARTS, compositional_accuracy, squares
from bench.metrics.geneval_tasks import TASKS, tasks
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError


def real_scores(world: shapes.World, resolution: int, count: int) -> dict[str, list[dict[str, float]]]:
    """Mean accuracy per part, and that per task of GenEval, on real images, on
    :func:`~bench.metrics.compositional_accuracy.squares`, on captions shuffled by one place, and on uniform noise."""
    what = shapes.scenes(np.arange(count), world)
    real = shapes.render(what, resolution)
    noise = np.random.default_rng(seed_for("composition noise")).integers(0, 256, real.shape, np.uint8)
    cases = {
        "real": (real, what.attributes),
        "squares": squares(count, world, resolution),
        "shuffled": (real, np.roll(what.attributes, 1, axis=0)),
        "noise": (noise, what.attributes),
    }
    return {
        name: [
            {part: float(hit.mean()) for part, hit in judge(*case).items()}
            for judge in (compositional_accuracy, tasks)
        ]
        for name, case in cases.items()
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ceiling and the floors of the metric; returns the exit code."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    parser = Parser(prog="python -m bench.composition", description=__doc__)
    parser.add_argument("--resolution", type=int, nargs="+", default=[16, 32], help="sides in pixels")
    parser.add_argument("--count", type=int, default=2000, help="number of images")
    options = parser.parse(argv)
    if options.count < 1 or min(options.resolution) < 8:
        raise UserError("--count must be at least 1 and --resolution at least 8")
    found = [
        (f"{world.name:>8} {name:>8} {resolution:>4}", scores)
        for world in shapes.WORLDS.values()
        for resolution in options.resolution
        for name, scores in real_scores(world, resolution, options.count).items()
    ]
    for which, parts in enumerate((PARTS, tuple(TASKS))):
        print(f"{'dataset':>8} {'images':>8} {'px':>4} " + " ".join(f"{part:>13}" for part in parts))
        for row, scores in found:
            values = (f"{scores[which][part]:.4f}" if part in scores[which] else "" for part in parts)
            print(f"{row} " + " ".join(f"{v:>13}" for v in values))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
