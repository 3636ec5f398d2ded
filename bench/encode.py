"""The command ``python -m bench.encode``: the latents of a dataset once, in a folder that ``--datasets encoded:PATH`` reads.

The same command again does what is left, after an interruption at any point; several processes may share the work.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import data
from bench.config.seeds import seed_for
from bench.data.channel_moments import ChannelMoments
from bench.data.images import LEFT_SECONDS
from bench.data.latent_store import (
    INDEX,
    ROWS,
    SIDES,
    EncodingRecipe,
    Index,
    Shard,
    Side,
    check_shards,
    finished,
    read_index,
    shard_name,
    write_captions,
    write_shard,
)
from flowbench._core import atomic
from flowbench._core.command import INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import many, short

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.pretrained.frozen_autoencoder import Autoencoder
else:
    torch = lazy("torch")

log = logging.getLogger("bench.encode")
LARGEST = 65504.0
"""The largest number of float16."""
EXAMPLES = """examples:
  python -m bench.encode --data images:PATH --resolution 256 --autoencoder stabilityai/sd-vae-ft-mse --out encoded
  python -m bench.grid --datasets encoded:encoded --resolution 256 --patch 2 --dry-run
  python -m bench.encode --check encoded"""


@dataclass(frozen=True)
class Part:
    """The shards of one process of several: those whose number leaves ``index`` when it is divided by ``count``."""

    index: int = 0
    count: int = 1


def parser() -> Parser:
    """The options."""
    p = Parser(
        prog="python -m bench.encode",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = p.add_argument
    add("--data", metavar="SPEC", help="as --datasets of bench.grid: what is encoded")
    add(
        "--autoencoder",
        metavar="PATH",
        help="an autoencoder of diffusers: its folder, or its name in your cache",
    )
    add("--out", type=Path, metavar="DIR", help="the folder to write")
    add("--resolution", type=INT, default=256, metavar="R", help="edge of the images (default: 256)")
    add(
        "--train",
        type=INT,
        metavar="N",
        help="training images, at most (default: all; 20,000 of generated ones)",
    )
    add(
        "--validation", type=INT, default=2_000, metavar="N", help="held-out images, at most (default: 2,000)"
    )
    posterior = "what is stored of a latent's distribution: its mean, or one sample, drawn by a fixed seed (default: mean)"
    add("--posterior", choices=("mean", "sample"), default="mean", help=posterior)
    add("--batch", type=INT, default=16, metavar="B", help="images that are encoded at once (default: 16)")
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add(
        "--part",
        default="1/1",
        metavar="I/N",
        help="encode every Nth shard from the Ith on; then once more without it",
    )
    add(
        "--check",
        type=Path,
        metavar="DIR",
        help="verify every shard of a finished folder, and encode nothing",
    )
    add("--plugin", nargs="+", default=[], metavar="FILE", help="plugin files, for a dataset of yours")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 2 after one sentence about a user's mistake."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """Encode, or check."""
    args = parser().parse(argv)
    if args.check:
        index = read_index(args.check)
        check_shards(args.check, index)
        print(f"{short(args.check)}: {described(index)}: every shard is as it was written")
        return 0
    for name in ("data", "autoencoder", "out"):
        if getattr(args, name) is None:
            raise UserError(f"--{name} is missing: {EXAMPLES.splitlines()[1].strip()}")
    if args.batch < 1:
        raise UserError(f"--batch {args.batch}: must be 1 or more")
    for file in args.plugin:
        load_plugin(file)
    run(args, part_of(args.part))
    return 0


def part_of(text: str) -> Part:
    """``2/8``. Raises :class:`UserError`."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise UserError(f"--part {text}: say I/N with I from 1 to N, for example 2/8")
    return Part(int(index) - 1, int(count))


def run(args: argparse.Namespace, part: Part) -> None:
    """Encode the shards of a part that are not there yet; with all shards there, write the index."""
    from bench.machine.device import pick_device
    from bench.pretrained import frozen_autoencoder

    device = pick_device(args.device)
    model = frozen_autoencoder.load(frozen_autoencoder.place(args.autoencoder), str(device))
    if args.resolution % model.factor:
        raise UserError(
            f"--resolution {args.resolution}: {model.name} makes one latent of {model.factor} x {model.factor} pixels: "
            f"the nearest is {max(1, round(args.resolution / model.factor)) * model.factor}"
        )
    most = args.train
    if most is None:
        most = 20_000 if data.get(data.canonical(args.data)).fixed else 10**8
    dataset = data.load(args.data, resolution=args.resolution, train=most, validation=args.validation)
    recipe = recipe_of(args, dataset, model)
    kept = read_index(args.out) if (args.out / INDEX).is_file() else None
    if kept and kept.recipe != recipe:
        raise UserError(f"--out {args.out} holds {described(kept)}: name another folder, or delete it")
    args.out.mkdir(parents=True, exist_ok=True)
    atomic.sweep(args.out, LEFT_SECONDS)
    began, done = time.monotonic(), 0
    for number, (side, place, rows) in enumerate(shards(dataset)):
        if number % part.count != part.index or finished(args.out, side, place, recipe, len(rows)):
            continue
        encode_shard(args.out, side, place, rows, dataset, model, recipe, args.batch)
        done += len(rows)
        log.info(
            "%s: %s images, %.1f a second",
            shard_name(side, place),
            f"{done:,}",
            done / (time.monotonic() - began),
        )
    if not finish(args.out, dataset, recipe):
        if part.count == 1:
            raise UserError(
                f"--out {args.out}: another command encodes something else into it: name another folder"
            )
        print(
            f"{short(args.out)}: shards of other parts are not there yet; the command without --part ends the work"
        )


def recipe_of(args: argparse.Namespace, dataset: data.Dataset, model: Autoencoder) -> EncodingRecipe:
    """What decides the values."""
    if dataset.decoder is not None:
        raise UserError(f"--data {args.data}: its images are latents already")
    edge = args.resolution // model.factor
    sizes = len(dataset.train), len(dataset.validation)
    shape = model.channels, edge, edge
    where = Path(args.autoencoder)
    place = str(where.resolve()) if where.is_dir() else args.autoencoder
    return EncodingRecipe(
        dataset.name, dataset.digest, args.resolution, *sizes, model.name, args.posterior, shape, place
    )


def shards(dataset: data.Dataset) -> Iterator[tuple[Side, int, np.ndarray]]:
    """The rows of every shard, by side and number."""
    for side in SIDES:
        count = len(getattr(dataset, side))
        for place, first in enumerate(range(0, count, ROWS)):
            yield side, place, np.arange(first, min(first + ROWS, count))


def encode_shard(
    out: Path,
    side: Side,
    place: int,
    rows: np.ndarray,
    dataset: data.Dataset,
    model: Autoencoder,
    recipe: EncodingRecipe,
    batch: int,
) -> None:
    """Encode and write one shard. Raises :class:`UserError` for latents that float16 cannot hold."""
    split: data.Split = getattr(dataset, side)
    parts, images = [], []
    for i in range(0, len(rows), batch):
        taken = rows[i : i + batch]
        pixels = torch.from_numpy(np.ascontiguousarray(split.reference[taken]))
        parts.append(latents(model, pixels, side, taken, recipe.posterior))
        if side == "validation":
            images.append(pixels.expand(-1, 3, -1, -1))
    values = torch.cat(parts)
    if not bool((values.abs() <= LARGEST).all()):
        raise UserError(
            f"{model.name} gives latents that are not finite or too large for half precision: they cannot be kept"
        )
    half = values.half()
    tensors = {"values": half, **({"reference": torch.cat(images)} if images else {})}
    write_shard(out, side, place, recipe, tensors, ChannelMoments.of(half.numpy()))


def latents(model: Autoencoder, images: Tensor, side: Side, rows: np.ndarray, posterior: str) -> Tensor:
    """What is stored of images, float32 on the CPU: no row depends on those that are encoded with it but for rounding."""
    mean, deviation = (None if part is None else part.cpu() for part in model.encode(images))
    assert mean is not None
    if posterior == "mean" or deviation is None:
        return mean
    drawn = torch.empty_like(mean)
    for at, row in enumerate(rows.tolist()):
        torch.randn(
            mean.shape[1:],
            generator=torch.Generator().manual_seed(seed_for("posterior", side, row)),
            out=drawn[at],
        )
    return mean + deviation * drawn


def finish(out: Path, dataset: data.Dataset, recipe: EncodingRecipe) -> bool:
    """Write captions and index if every shard is there; returns whether it is."""
    found: dict[Side, list[Shard]] = {side: [] for side in SIDES}
    sums: list[ChannelMoments] = []
    for side, place, rows in shards(dataset):
        shard = finished(out, side, place, recipe, len(rows))
        if shard is None:
            return False
        found[side].append(shard[0])
        if side == "train":
            sums.append(shard[1])
    write_captions(out, {side: getattr(dataset, side).every() for side in SIDES})
    index = Index(recipe, {side: tuple(found[side]) for side in SIDES}, ChannelMoments.sum(sums))
    index.write(out)
    mean, deviation = index.moments.whole
    print(f"{short(out)}: {described(index)}; mean {mean:.3f}, deviation {deviation:.3f}")
    return True


def described(index: Index) -> str:
    """The content of a folder in words."""
    recipe = index.recipe
    size = "x".join(map(str, recipe.shape))
    return (
        f"{many(recipe.train, 'training latent')} and {recipe.validation:,} of validation of {recipe.source}, {size}, "
        f"by {recipe.autoencoder}, posterior {recipe.posterior}"
    )


if __name__ == "__main__":
    sys.exit(main())
