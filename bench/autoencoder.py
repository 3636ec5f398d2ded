"""The command ``python -m bench.autoencoder``: train a small autoencoder of your images, for ``python -m bench.encode``.

It writes a folder as diffusers' ``save_pretrained`` does, with a card and a picture of reconstructions. A study wants the
autoencoder of a large data set; this one makes latents that mean something where no other is at hand.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from flowbench._core import atomic
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import many, markdown, short

if TYPE_CHECKING:
    import numpy as np
    import torch

    from bench.data import Dataset, Split
    from bench.encoders.autoencoder_train import AutoencoderRecipe
    from bench.pretrained.frozen_autoencoder import Autoencoder
else:
    np, torch = lazy("numpy"), lazy("torch")

log = logging.getLogger("bench.autoencoder")
COMMAND = "python -m bench.autoencoder"
SHOWN, ACROSS = 32, 8
"""Images in the picture of reconstructions, and how many of them are side by side."""
NUMBERS = {
    "resolution": (8, "edge of the images in pixels"),
    "train": (1, "training images, at most"),
    "validation": (1, "held-out images, at most"),
    "factor": (2, "one latent for so many pixels in each direction"),
    "channels": (1, "channels of a latent"),
    "width": (1, "channels of the first level"),
    "steps": (1, "training steps"),
    "batch": (1, "images for each step"),
    "learning_rate": (0, "the largest"),
    "kl": (0, "weight of the divergence from a standard normal distribution"),
    "seed": (0, "of weights, batches and noise"),
}
"""The smallest value of each numeric field of the recipe, and what it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(argv))


def parser() -> Parser:
    """The options."""
    from bench.encoders.autoencoder_train import AutoencoderRecipe

    default = AutoencoderRecipe()
    p = Parser(prog=COMMAND, description=__doc__)
    add = p.add_argument
    add("--data", metavar="SPEC", help="as --datasets of bench.grid: the images")
    add("--out", type=Path, metavar="DIR", help="the folder to write")
    for name, (_, meaning) in NUMBERS.items():
        usual = getattr(default, name)
        kind = FLOAT if isinstance(usual, float) else INT
        text = f"{meaning} (default: {usual:,})"
        add(f"--{name.replace('_', '-')}", type=kind, default=usual, metavar="N", help=text)
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add("--plugin", nargs="+", default=[], metavar="FILE", help="plugin files, for a dataset of yours")
    return p


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args = parser().parse(argv)
    for name in ("data", "out"):
        if getattr(args, name) is None:
            raise UserError(f"--{name} is missing: {COMMAND} --data images:PATH --out autoencoder")
    for file in args.plugin:
        load_plugin(file)
    print(make(recipe_of(args), args.out, args.device))
    return 0


def recipe_of(args: argparse.Namespace) -> AutoencoderRecipe:
    """The recipe that the options ask for. Raises :class:`UserError`."""
    from bench.encoders import autoencoder_train

    for name, (least, _) in NUMBERS.items():
        value = getattr(args, name)
        if not least <= value < float("inf") or (name == "learning_rate" and not 0 < value < 1):
            wanted = "between 0 and 1" if name == "learning_rate" else f"{least} or more"
            raise UserError(f"--{name.replace('_', '-')} {value:g}: must be {wanted}")
    recipe = autoencoder_train.AutoencoderRecipe(
        **{f.name: getattr(args, f.name) for f in fields(autoencoder_train.AutoencoderRecipe)}
    )
    autoencoder_train.check(recipe)
    return recipe


def make(recipe: AutoencoderRecipe, out: Path, device: str) -> str:
    """Train, measure on held-out images, and write; returns a line about it. Raises :class:`UserError`."""
    from bench import data
    from bench.drawing import write
    from bench.encoders import autoencoder_train
    from bench.machine.device import device_name, pick_device
    from bench.pretrained import frozen_autoencoder

    with whole(out) as new:
        sizes = {"resolution": recipe.resolution, "train": recipe.train, "validation": recipe.validation}
        dataset, there = data.load(recipe.data, **sizes), pick_device(device)
        if dataset.decoder is not None:
            raise UserError(f"--data {recipe.data}: its images are latents already")
        log.info(
            "%s of %s, %s held out",
            many(len(dataset.train), "image"),
            dataset.name,
            f"{len(dataset.validation):,}",
        )
        started = time.perf_counter()
        model = autoencoder_train.train(recipe, dataset, there, log.info)
        took = f"{(time.perf_counter() - started) / 3600:.2g} h on {device_name(there)}"
        mean, deviation = autoencoder_train.moments(model, dataset.train, there)
        model.register_to_config(scaling_factor=1 / deviation, shift_factor=mean)
        model.save_pretrained(new)
        frozen = frozen_autoencoder.load(frozen_autoencoder.place(str(new)), str(there))
        held = decibels(frozen, dataset.validation)
        write(pairs(frozen, dataset.validation), new / "reconstructions.png")
        atomic.write_text(new / "README.md", card(recipe, dataset, frozen, held))
    size = "x".join(map(str, (frozen.channels, *[recipe.resolution // frozen.factor] * 2)))
    return (
        f"{short(out)}: {frozen.name}, latents {size}, reconstruction PSNR {held:.2f} dB on held-out images, "
        f"trained for {took}"
    )


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A new folder that becomes ``out`` once the block ends without an error. Raises :class:`UserError` for one that holds
    something; found before the training, not after it."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is there already: name a new folder, or delete it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=atomic.NEW) as temporary:
        new = Path(temporary) / "autoencoder"
        new.mkdir()
        new.chmod(out.parent.stat().st_mode & 0o755)  # as readable as the folder around it
        yield new
        for file in new.iterdir():
            file.chmod(new.stat().st_mode & 0o644)  # safetensors writes for the owner only
        new.replace(out)


def decibels(model: Autoencoder, split: Split, batch: int = 64) -> float:
    """The mean PSNR of the reconstructions of a split's images."""
    from bench.encoders.autoencoder_train import psnr

    every = np.arange(len(split))
    parts = [psnr(*reconstructed(model, split, every[i : i + batch])) for i in range(0, len(split), batch)]
    return float(torch.cat(parts).mean())


def reconstructed(model: Autoencoder, split: Split, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Images by way of the means of their latents, and the images themselves: both uint8 ``[n, 3, R, R]``."""
    from bench.pretrained.preprocessing import rgb

    images = rgb(torch.from_numpy(np.ascontiguousarray(split.reference[rows])))
    made = model.decode(model.encode(images)[0])
    return made.round().clamp(0, 255).to(torch.uint8).cpu(), images


def pairs(model: Autoencoder, split: Split) -> np.ndarray:
    """A row of images above their reconstructions, and so on: uint8 ``[2 SHOWN, R, R, 3]``."""
    made, images = reconstructed(model, split, np.resize(np.arange(len(split)), SHOWN))
    rows = zip(images.split(ACROSS), made.split(ACROSS), strict=True)
    return torch.cat([part for both in rows for part in both]).permute(0, 2, 3, 1).numpy()


def card(recipe: AutoencoderRecipe, dataset: Dataset, model: Autoencoder, held: float) -> str:
    """The text of ``README.md``: what it is, how well it reconstructs, and how it was made."""
    default, given = type(recipe)(), ["--data", recipe.data]
    for name in NUMBERS:
        if (value := getattr(recipe, name)) != getattr(default, name):
            given += [f"--{name.replace('_', '-')}", f"{value:g}"]
    config: Any = model.model.config
    count = sum(parameter.numel() for parameter in model.model.parameters())
    rows = [
        ("class", f"`{model.name}`, {count:,} parameters"),
        ("data", f"{dataset.name} ({dataset.digest}), {len(dataset.train):,} training images"),
        ("latents", f"{model.channels} channels, one for {model.factor} x {model.factor} pixels"),
        ("scaling_factor", f"{config.scaling_factor:.6g}, measured on latents of the training images"),
        ("shift_factor", f"{config.shift_factor:.6g}, likewise"),
        ("reconstruction PSNR", f"{held:.2f} dB, mean of {len(dataset.validation):,} held-out images"),
        ("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
    ]
    lines = [
        f"# An autoencoder of {dataset.name} at {recipe.resolution} pixels",
        "",
        "![held-out images above their reconstructions](reconstructions.png)",
        "",
        f"    {COMMAND} {shlex.join(given)}",
        "",
        *markdown(("", ""), rows),
        "",
        "A small network for latents of these images, trained without perceptual or adversarial losses: others it blurs.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
