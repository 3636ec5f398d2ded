"""``python -m bench.recipes``: what the treatment of gradients and AdamW's betas cost, on a seed that no ranking uses.

The headline formulations of the preset ``quick`` train with everything else equal; printed is each one's validation loss as
a difference from the first recipe, in percent.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from bench.config.experiment import Training
from bench.config.presets import preset
from bench.machine.device import device_name, pick_device, versions
from bench.planning.cells import expand
from bench.training.batches import Batches, validation_batch
from bench.training.train import train
from bench.worker.setup import make
from flowbench._core import atomic
from flowbench._core.command import INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.terminal import markdown
from formulations import get

log = logging.getLogger("bench.recipes")

SEED = 900
"""For choosing a recipe: no preset's seeds come so far."""
RECIPES = {
    "normalised": {"gradients": "normalised"},
    "plain": {},
    "plain, betas 0.9 0.95": {"betas": (0.9, 0.95)},
    "plain, betas 0.9 0.99": {"betas": (0.9, 0.99)},
}


@dataclass(frozen=True)
class Losses:
    """Validation loss of each formulation by recipe, with the seed, the usual recipe and the machine."""

    seed: int
    training: dict[str, object]
    losses: dict[str, dict[str, float]]
    machine: dict[str, object]


def measure(name: str, steps: int | None) -> Losses:
    """Train the formulations of a preset once for each recipe."""
    grid, device = preset(name), pick_device("cpu")
    usual = grid.training if steps is None else replace(grid.training, steps=steps)
    names, setup = expand(grid), make(grid.datasets[0], grid, device)
    shape = setup.shape(grid.model)
    held = validation_batch(setup.data, setup.captions, usual.validation_images, device)
    losses = {}
    for label, changes in RECIPES.items():
        recipe: Training = replace(usual, **changes)  # type: ignore[arg-type]
        batches = Batches(
            setup.data, setup.captions, SEED, recipe.batch, recipe.dropout, device, recipe.drop_encoders
        )
        trained = train([get(n) for n in names], shape, recipe, batches, held, SEED)
        losses[label] = dict(zip(names, trained.best.common.tolist(), strict=True))
        log.info("%s %s", label, losses[label])
    machine = {"device": device_name(device), "threads": torch.get_num_threads(), **versions()}
    return Losses(SEED, asdict(usual), losses, machine)


def table(found: Losses) -> str:
    """Markdown: percent by which each recipe's loss is above the first one's."""
    first, *others = found.losses
    rows = [
        (name, f"{loss:.4f}", *(f"{100 * (found.losses[other][name] / loss - 1):+.1f} %" for other in others))
        for name, loss in found.losses[first].items()
    ]
    return "\n".join(markdown(("formulation", first, *others), rows))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    parser = Parser(prog="python -m bench.recipes", description=__doc__)
    parser.add_argument("--preset", default="quick", metavar="NAME", help="what is trained (default quick)")
    parser.add_argument("--steps", type=INT, metavar="N", help="training steps (default the preset's)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the losses as JSON")
    args = parser.parse(argv)
    if args.out and (args.out.is_dir() or not args.out.absolute().parent.is_dir()):
        raise UserError(f"--out {args.out}: name a file in a folder that is there")
    found = measure(args.preset, args.steps)
    print(table(found))
    if args.out:
        atomic.write_json(args.out, asdict(found))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return outcome(lambda: command(argv), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
