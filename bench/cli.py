"""The options of ``python -m bench.grid``, and how they change a preset. No torch."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from bench.config import PRESETS, Grid, Setting, preset
from samplers.errors import UserError, nearest

EPILOG = """\
examples:
  python -m bench.grid                                    the quick preset
  python -m bench.grid --dry-run --preset paper           what the whole study would run
  python -m bench.grid --formulations rf 'edm*' --samplers 'lognorm(0,1)' cosmap
  python -m bench.grid --plugin mine.py --formulations headline my/path
The same command again does only what is missing.
"""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are :class:`UserError` with the nearest option."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def check_unknown(self, unknown: Sequence[str]) -> None:
        """Raise for the first argument that is no option."""
        if unknown:
            options = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
            raise UserError(f"unknown option {unknown[0]!r}: {nearest(unknown[0].partition('=')[0], options)}")


def setting(text: str) -> Setting:
    """``50:2.5``: 50 steps with guidance 2.5."""
    steps, _, cfg = text.partition(":")
    try:
        return int(steps), float(cfg)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not STEPS:GUIDANCE, for example 50:2.5") from None


def number(kind: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    """A parser of numbers whose error is a sentence."""

    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return parse


INT, FLOAT = number(int, "a whole number"), number(float, "a number")

OPTIONS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "what is compared": (
        ("formulations", {"nargs": "+", "metavar": "GLOB", "help": "names, globs, or a suite: paper, published, headline"}),
        ("samplers", {"nargs": "+", "metavar": "GLOB", "help": "cross every formulation with these timestep samplers"}),
        ("datasets", {"nargs": "+", "metavar": "DATA", "help": "shapes, digits, images:PATH"}),
        ("seeds", {"type": INT, "metavar": "N", "help": "seeds 0 .. N-1"}),
    ),
    "the model": (
        ("depth", {"type": INT, "metavar": "D", "help": "blocks; width is 64 D and heads are D unless given"}),
        ("width", {"type": INT, "metavar": "W", "help": "channels of both streams"}),
        ("heads", {"type": INT, "metavar": "N", "help": "attention heads"}),
        ("patch", {"type": INT, "metavar": "P", "help": "edge of a patch in pixels"}),
        ("text", {"metavar": "ENCODER", "help": "frozen text encoder: tinyclip, tinyclip:PATH, clip:PATH"}),
    ),
    "images": (
        ("resolution", {"type": INT, "metavar": "PX", "help": "edge of the square images"}),
        ("train-images", {"type": INT, "metavar": "N", "help": "training images, at most"}),
        ("validation-images", {"type": INT, "metavar": "N", "help": "validation images, at most; the reference of FID"}),
    ),
    "training": (
        ("steps", {"type": INT, "metavar": "N", "help": "training steps"}),
        ("batch", {"type": INT, "metavar": "B", "help": "images a step"}),
        ("lr", {"type": FLOAT, "metavar": "X", "help": "peak learning rate of AdamW"}),
        ("warmup", {"type": INT, "metavar": "N", "help": "steps of linear warm-up"}),
        ("decay", {"type": FLOAT, "metavar": "SHARE", "help": "share of the run over which the rate falls to zero"}),
        ("weight-decay", {"type": FLOAT, "metavar": "X", "help": "AdamW's decoupled weight decay"}),
        ("clip", {"type": FLOAT, "metavar": "X", "help": "largest gradient norm of a member"}),
        ("ema", {"type": FLOAT, "metavar": "SHARE", "help": "time constant of the EMA as a share of the run"}),
        ("dropout", {"type": FLOAT, "metavar": "P", "help": "probability of dropping a caption"}),
        ("validations", {"type": INT, "metavar": "N", "help": "validations in a run"}),
        ("validation-batch", {"type": INT, "metavar": "N", "help": "images of a validation, a multiple of 8"}),
        ("precision", {"metavar": "float32|bf16", "help": "of the network's matrix products"}),
    ),
    "evaluation": (
        ("settings", {"nargs": "+", "type": setting, "metavar": "STEPS:CFG", "help": "sampler settings, e.g. 50:1 5:5"}),
        ("weights", {"nargs": "+", "metavar": "ema|raw", "help": "which weights to sample with"}),
        ("samples", {"type": INT, "metavar": "N", "help": "images for each control setting"}),
        ("sampling-grid", {"metavar": "native|common", "help": "Euler steps on the formulation's own grid or on one in the clock"}),
        ("extractor", {"metavar": "MODEL", "help": "features of CLIP and FID: tinyclip[:PATH], clip:PATH, torchmetrics:PATH, inception:PATH"}),
    ),
}

FIELDS = {
    "model": ("depth", "width", "heads", "patch"),
    "images": ("resolution", "train_images", "validation_images"),
    "training": (
        "steps batch lr warmup decay weight_decay clip ema dropout validations validation_batch precision".split()
    ),
    "evaluation": ("settings", "weights", "samples", "sampling_grid", "extractor"),
}
"""Which options belong to which part of a :class:`bench.config.Grid`."""

RENAMED = {
    ("images", "train_images"): "train",
    ("images", "validation_images"): "validation",
    ("training", "validation_batch"): "validation_images",
    ("evaluation", "sampling_grid"): "grid",
}


def parser() -> Parser:
    """The command's options."""
    made = Parser(
        prog="python -m bench.grid",
        description="Train flow formulations under one protocol, measure them, and print which is best.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--preset", default="quick", metavar="NAME", help=" | ".join(PRESETS) + " (default quick)")
    made.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/PRESET)")
    made.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    made.add_argument("--plugin", nargs="+", action="extend", type=Path, default=[], metavar="FILE", help="files that register formulations")
    made.add_argument("--pack", type=INT, default=16, metavar="N", help="cells that train in one graph (default 16)")
    made.add_argument("--compile", action="store_true", help="torch.compile the model")
    made.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    for title, options in OPTIONS.items():
        group = made.add_argument_group(f"{title} (default: the preset's)")
        for name, how in options:
            group.add_argument(f"--{name}", **how)
    return made


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Grid]:
    """The options and the grid they describe. Raises :class:`UserError`."""
    made = parser()
    args, unknown = made.parse_known_args(argv)
    made.check_unknown(unknown)
    if args.pack < 1:
        raise UserError(f"--pack {args.pack}: must be greater than 0")
    return args, override(preset(args.preset), args)


def override(grid: Grid, args: argparse.Namespace) -> Grid:
    """The preset with the options that were given."""
    changes: dict[str, Any] = {}
    for part, names in FIELDS.items():
        given = {
            RENAMED.get((part, name), name): _frozen(getattr(args, name)) for name in names if getattr(args, name) is not None
        }
        if given:
            changes[part] = replace(getattr(grid, part), **given)
    for name in ("formulations", "samplers", "datasets", "seeds", "text"):
        if getattr(args, name) is not None:
            changes[name] = _frozen(getattr(args, name))
    return replace(grid, **changes)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
