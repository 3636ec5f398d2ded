"""The command ``python -m bench.tinyclip``: train an encoder and write it, or describe one."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from bench.encoders import features, tinyclip_encoder, tinyclip_eval
from bench.encoders.tinyclip_header import SHIPPED
from bench.encoders.tinyclip_train import Recipe, Source, load_sources, train
from bench.encoders.tinyclip_twins import Twins
from bench.encoders.tokenizer import Tokenizer
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError

log = logging.getLogger("bench.tinyclip")

COMMAND = "python -m bench.tinyclip"
NUMBERS = {
    "train": (2, "training pictures of each data set, at most"),
    "validation": (2, "held-out pictures of each data set, at most"),
    "steps": (1, "training steps"),
    "batch": (2, "pictures per step"),
    "twins": (0, "captions with one edit per caption, as negatives"),
    "seed": (0, "of weights, batches and noise"),
    "length": (2, "tokens per caption"),
}
"""The smallest value of each numeric option, and what it is."""


def parser() -> Parser:
    """The options; their defaults are those of :class:`Recipe`, which made the shipped weights."""
    default, p = Recipe(), Parser(prog=COMMAND, description=__doc__)
    add = p.add_argument
    data = "as --datasets of bench.grid (default: shapes scenes digits)"
    add("--data", nargs="+", metavar="SPEC", help=data)
    add("--out", type=Path, metavar="FILE", help="the safetensors file to write")
    described = "print the recipe and accuracies of FILE (default: the shipped weights)"
    add("--describe", nargs="?", type=Path, const=SHIPPED, metavar="FILE", help=described)
    add("--resolution", nargs="+", type=INT, metavar="R", help="sides of the pictures (default: 8 16 32)")
    for name, (_, meaning) in NUMBERS.items():
        usual = getattr(default, name)
        shown = "the longest's, even, at most 32" if usual is None else usual
        add(f"--{name}", type=INT, default=usual, metavar="N", help=f"{meaning} (default: {shown})")
    add("--learning-rate", type=FLOAT, default=default.learning_rate, metavar="X")
    return p


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that the options ask for, checked."""
    default = Recipe()
    for name, (least, _) in NUMBERS.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value} is too small: the least is {least}")
    if not 0 < args.learning_rate < 1:
        raise UserError(f"--learning-rate {args.learning_rate} is not between 0 and 1")
    given = {f.name: getattr(args, f.name) for f in fields(Recipe) if hasattr(args, f.name)}
    given |= {"data": tuple(args.data or default.data)}
    given |= {"resolutions": tuple(args.resolution or default.resolutions)}
    return Recipe(**given)


def command_of(recipe: Recipe) -> str:
    """The command that asks for ``recipe`` (without ``--out``)."""
    options = {"data": "data", "resolutions": "resolution", **{name: name for name in NUMBERS}}
    words = COMMAND.split()
    for name, option in {**options, "learning_rate": "learning-rate"}.items():
        value = getattr(recipe, name)
        if value != getattr(Recipe(), name):
            words += [f"--{option}", *map(str, value if isinstance(value, tuple) else (value,))]
    return shlex.join(words)


def writable(path: Path) -> Path:
    """``path``, if a file can be written there; asked before the training, not after it."""
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file, e.g. {path / 'tinyclip.safetensors'}")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--out {path}: the folder {path.parent} is not writable")
    return path


def held_out(clip: tinyclip_encoder.TinyCLIP, sources: list[list[Source]]) -> dict[str, dict[str, float]]:
    """The held-out numbers of every data set at every resolution."""
    numbers = {}
    for source in (source for row in sources for source in row):
        split = source.data.validation
        numbers[f"{source.data.name} at {source.resolution}"] = tinyclip_eval.measure(
            features(clip, split.reference),
            split,
            clip.tokenizer,
            Twins(source.ids, len(clip.tokenizer.words)),
            clip.text_features,
            shapes=source.data.name in ("shapes", "scenes"),
        )
    return numbers


def data_facts(source: Source, tokenizer: Tokenizer) -> dict[str, Any]:
    """What the recipe records of a data set."""
    data = source.data
    return {
        "spec": data.name,
        "resolution": source.resolution,
        "digest": data.digest,
        "train": len(data.train),
        "validation": len(data.validation),
        "skipped": len(data.skipped),
        "captions cut": tokenizer.truncated(data.train.texts()),
    }


def make(recipe: Recipe, out: Path) -> None:
    """Train, measure on held-out pictures, and write."""
    sources, tokenizer = load_sources(recipe)
    facts = [data_facts(source, tokenizer) for row in sources for source in row]
    for fact in facts:
        text = (
            "{spec} at {resolution}: {train} pictures, {validation} held out, {skipped} skipped, "
            "{captions cut} captions cut to {words} words"
        )
        log.info(text.format(**fact, words=tokenizer.length))
    model = train(recipe, sources, tokenizer, log.info)
    made = {
        **asdict(recipe),
        "command": command_of(recipe),
        "data": facts,
        "vocabulary": len(tokenizer.words),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    tinyclip_encoder.save(out, model, tokenizer, made)
    measured = tinyclip_encoder.load(out)  # the numbers are those of the float16 weights that users load
    tinyclip_encoder.save(out, measured.model, tokenizer, {**made, "held out": held_out(measured, sources)})
    describe(out)


def describe(path: Path) -> None:
    """Print the recipe and the held-out numbers of a weights file."""
    clip = tinyclip_encoder.load(path)
    recipe = dict(clip.recipe)
    measured: dict[str, dict[str, float]] = recipe.pop("held out", {})
    print(f"{clip.name}  {path}  {path.stat().st_size / 1e6:.2f} MB")
    print(f"command: {recipe.pop('command', 'unknown')}")
    for fact in recipe.pop("data", []):
        print(f"data: {json.dumps(fact)}")
    print("recipe: " + json.dumps(recipe))
    for name, numbers in measured.items():
        print(f"held out, {name}:")
        for what, value in numbers.items():
            print(f"  {what:<40} {value:.4f}")


def command(argv: Sequence[str] | None) -> int:
    """Train or describe."""
    args = parser().parse(argv)
    if args.describe:
        if vars(args) != vars(parser().parse_args([])) | {"describe": args.describe}:
            raise UserError("--describe trains nothing: give it without the options of a training")
        describe(args.describe)
    elif args.out is None:
        raise UserError("give --out FILE to train an encoder, or --describe to see one")
    else:
        make(recipe_of(args), writable(args.out))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(argv), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
