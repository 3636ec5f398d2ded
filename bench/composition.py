"""``python -m bench.composition``: the ceiling and the floors of :mod:`bench.metrics.compositional_accuracy`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bench.config.seeds import seed_for
from bench.data import shapes
from bench.metrics.compositional_accuracy import PARTS, compositional_accuracy, squares
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError


def real_scores(world: shapes.World, resolution: int, count: int) -> dict[str, dict[str, float]]:
    """Mean accuracy per part on real images, on :func:`~bench.metrics.compositional_accuracy.squares`, on captions shuffled
    by one place, and on uniform noise."""
    what = shapes.scenes(np.arange(count), world)
    real = shapes.render(what, resolution)
    noise = np.random.default_rng(seed_for("composition noise")).integers(0, 256, real.shape, np.uint8)
    cases = {
        "real": (real, what.attributes),
        "squares": squares(count, world, resolution),
        "shuffled": (real, np.roll(what.attributes, 1, axis=0)),
        "noise": (noise, what.attributes),
    }
    scores = {name: compositional_accuracy(*case) for name, case in cases.items()}
    return {name: {part: float(v.mean()) for part, v in s.items()} for name, s in scores.items()}


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
    print(f"{'dataset':>8} {'images':>8} {'px':>4} " + " ".join(f"{part:>10}" for part in PARTS))
    for world in shapes.WORLDS.values():
        for resolution in options.resolution:
            for name, scores in real_scores(world, resolution, options.count).items():
                values = (f"{scores[part]:.4f}" if part in scores else "" for part in PARTS)
                print(f"{world.name:>8} {name:>8} {resolution:>4} " + " ".join(f"{v:>10}" for v in values))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
