"""The command ``python -m bench.metrics.tinyclip``: train an encoder and write it, or describe one."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from bench.metrics import tinyclip, tinyclip_eval
from bench.metrics.tinyclip_train import Recipe, Source, load_sources, train
from bench.metrics.tinyclip_twins import Twins
from bench.metrics.tokenizer import Tokenizer
from samplers.errors import UserError, nearest

COMMAND = "python -m bench.metrics.tinyclip"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        """One sentence, as for every other mistake."""
        options = [option for action in self._actions for option in action.option_strings]
        unknown = [word for word in message.split() if word.startswith("--") and word not in options]
        raise UserError(message + (f"; {nearest(unknown[0], options)}" if unknown else ""))


def parser() -> argparse.ArgumentParser:
    """The options; their defaults are those of :class:`Recipe`, which made the shipped weights."""
    default = Recipe()
    p = _Parser(prog=COMMAND, description=__doc__, allow_abbrev=False)
    p.add_argument("--data", nargs="+", default=list(default.data), metavar="SPEC",
                   help="captioned data: shapes, digits, images:PATH (default: shapes digits)")  # fmt: skip
    p.add_argument("--out", type=Path, metavar="FILE", help="the safetensors file to write")
    p.add_argument("--describe", nargs="?", type=Path, const=tinyclip.SHIPPED, metavar="FILE",
                   help="print the recipe and accuracies of FILE (default: the shipped weights) and stop")  # fmt: skip
    p.add_argument("--resolution", nargs="+", type=int, default=list(default.resolutions), metavar="R",
                   help="resolutions at which each data set is loaded (default: 16 32)")  # fmt: skip
    p.add_argument(
        "--train", type=int, default=default.train, metavar="N", help="training pictures per data set"
    )
    p.add_argument(
        "--validation", type=int, default=default.validation, metavar="N", help="held-out pictures"
    )
    p.add_argument("--steps", type=int, default=default.steps, metavar="N", help="(default: %(default)s)")
    p.add_argument("--batch", type=int, default=default.batch, metavar="N", help="(default: %(default)s)")
    p.add_argument("--twins", type=int, default=default.twins, metavar="N",
                   help="captions with one edit per caption, as negatives (default: %(default)s)")  # fmt: skip
    p.add_argument("--learning-rate", type=float, default=default.learning_rate, metavar="X")
    p.add_argument("--length", type=int, default=None, metavar="L",
                   help="tokens per caption (default: the longest caption, rounded up to even, at most 32)")  # fmt: skip
    p.add_argument("--seed", type=int, default=default.seed, metavar="N")
    return p


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The recipe that the options ask for, checked."""
    limits = (
        ("--train", args.train, 2), ("--validation", args.validation, 2), ("--steps", args.steps, 1),
        ("--batch", args.batch, 2), ("--twins", args.twins, 0), ("--length", args.length or 2, 2), ("--seed", args.seed, 0),
    )  # fmt: skip
    for option, value, least in limits:
        if value < least:
            raise UserError(f"{option} {value} is too small: the least is {least}")
    if not 0 < args.learning_rate < 1:
        raise UserError(f"--learning-rate {args.learning_rate} is not between 0 and 1")
    given = {f.name: getattr(args, f.name) for f in fields(Recipe) if hasattr(args, f.name)}
    given |= {"data": tuple(args.data), "resolutions": tuple(args.resolution)}
    return Recipe(**given)


def writable(path: Path) -> Path:
    """``path``, if a file can be written there; asked before the training, not after it."""
    if path.is_dir():
        raise UserError(f"--out {path} is a folder: name a file, e.g. {path / 'tinyclip.safetensors'}")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--out {path}: the folder {path.parent} is not writable")
    return path


def held_out(clip: tinyclip.TinyCLIP, sources: list[list[Source]]) -> dict[str, dict[str, float]]:
    """The held-out numbers of every data set at every resolution."""
    numbers = {}
    for source in (source for row in sources for source in row):
        split = source.data.validation
        numbers[f"{source.data.name} at {source.resolution}"] = tinyclip_eval.measure(
            clip.image_features(torch.from_numpy(split.images)),
            split,
            clip.tokenizer,
            Twins(source.ids, len(clip.tokenizer.words)),
            clip.text_features,
            shapes=source.data.name == "shapes",
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
        "captions cut": tokenizer.truncated(data.train.captions),
    }


def make(recipe: Recipe, out: Path, command: str) -> None:
    """Train, measure on held-out pictures, and write."""
    sources, tokenizer = load_sources(recipe)
    facts = [data_facts(source, tokenizer) for row in sources for source in row]
    for fact in facts:
        print(
            f"{fact['spec']} at {fact['resolution']}: {fact['train']} pictures, {fact['validation']} held out, "
            f"{fact['skipped']} skipped, {fact['captions cut']} captions cut to {tokenizer.length} words",
            flush=True,
        )
    model = train(recipe, sources, tokenizer, lambda line: print(line, flush=True))
    made = {
        **asdict(recipe),
        "command": command,
        "data": facts,
        "vocabulary": len(tokenizer.words),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    tinyclip.save(out, model, tokenizer, made)
    measured = tinyclip.load(out)  # the numbers are those of the float16 weights that users load
    tinyclip.save(out, measured.model, tokenizer, {**made, "held out": held_out(measured, sources)})
    describe(out)


def describe(path: Path) -> None:
    """Print the recipe and the held-out numbers of a weights file."""
    clip = tinyclip.load(path)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 after a user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        args = parser().parse_args(words)
        if args.describe:
            describe(args.describe)
        elif args.out is None:
            raise UserError("give --out FILE to train an encoder, or --describe to see one")
        else:
            shown = [w for i, w in enumerate(words) if w != "--out" and (i == 0 or words[i - 1] != "--out")]
            make(recipe_of(args), writable(args.out), shlex.join([*COMMAND.split(), *shown]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
