"""The options of ``python -m bench.grid``, and how they change a preset. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
            raise UserError(
                f"unknown option {unknown[0]!r}: {nearest(unknown[0].partition('=')[0], options)}"
            )


def outcome(command: Callable[[], int], if_interrupted: str) -> int:
    """A command's exit code: its own, 2 for a user's mistake, 130 if interrupted; each said in one sentence."""
    try:
        return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(if_interrupted, file=sys.stderr)
        return 130


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


def pack(text: str) -> int | None:
    """``auto`` is None."""
    return None if text == "auto" else WHOLE_OR_AUTO(text)


def datasets(values: Sequence[str]) -> list[str]:
    """``digits,shapes`` is two datasets; a comma in the path of ``images:`` is a comma."""
    return [part for v in values for part in ([v] if v.startswith("images:") else v.split(",")) if part]


WHOLE_OR_AUTO = number(int, "'auto' or a whole number")
INT, FLOAT = number(int, "a whole number"), number(float, "a number")


@dataclass(frozen=True)
class Option:
    """One option: its name, the field of the configuration that it sets, and how argparse reads it."""

    name: str
    help: str
    metavar: str
    type: Callable[[str], Any] = str
    several: bool = False
    field: str = ""

    @property
    def target(self) -> str:
        """The field it sets."""
        return self.field or self.name.replace("-", "_")


GROUPS: tuple[tuple[str, str | None, tuple[Option, ...]], ...] = (
    (
        "what is compared",
        None,
        (
            Option(
                "formulations", "names, globs, or a suite: paper, published, headline", "GLOB", several=True
            ),
            Option("samplers", "cross every formulation with these timestep samplers", "GLOB", several=True),
            Option("datasets", "shapes, digits, images:PATH", "DATA", several=True),
            Option("seeds", "seeds 0 .. N-1", "N", INT),
            Option(
                "text", "frozen text encoder of the captions: tinyclip, tinyclip:PATH, clip:PATH", "ENCODER"
            ),
        ),
    ),
    (
        "the model",
        "model",
        (
            Option("depth", "blocks; width is 64 D and heads are D unless given", "D", INT),
            Option("width", "channels of both streams", "W", INT),
            Option("heads", "attention heads", "N", INT),
            Option("patch", "edge of a patch in pixels", "P", INT),
        ),
    ),
    (
        "the images",
        "images",
        (
            Option("resolution", "edge of the square images", "PX", INT),
            Option("train-images", "training images, at most", "N", INT, field="train"),
            Option(
                "validation-images",
                "validation images, at most; FID's reference",
                "N",
                INT,
                field="validation",
            ),
        ),
    ),
    (
        "training",
        "training",
        (
            Option("steps", "training steps", "N", INT),
            Option("batch", "images a step", "B", INT),
            Option("lr", "peak learning rate of AdamW", "X", FLOAT),
            Option("warmup", "steps of linear warm-up", "N", INT),
            Option("decay", "share of the run over which the rate falls to zero", "SHARE", FLOAT),
            Option("weight-decay", "AdamW's decoupled weight decay", "X", FLOAT),
            Option("ema", "time constant of the EMA as a share of the run", "SHARE", FLOAT),
            Option("dropout", "probability of dropping a caption", "P", FLOAT),
            Option("validations", "validations in a run", "N", INT),
            Option(
                "validation-batch",
                "images of a validation, a multiple of 8",
                "N",
                INT,
                field="validation_images",
            ),
            Option("precision", "of the network's matrix products", "float32|bf16"),
        ),
    ),
    (
        "evaluation",
        "evaluation",
        (
            Option("settings", "sampler settings, e.g. 50:1 5:5", "STEPS:CFG", setting, several=True),
            Option("weights", "which weights to sample with", "ema|raw", several=True),
            Option("samples", "images for each control setting", "N", INT),
            Option(
                "sampling-grid",
                "Euler steps on each path's own grid or one in the clock",
                "native|common",
                field="grid",
            ),
            Option(
                "extractor",
                "of CLIP and FID: tinyclip[:PATH], clip:PATH, torchmetrics:PATH, inception:PATH",
                "MODEL",
            ),
        ),
    ),
)
"""Every option by part of :class:`bench.config.Grid`; those of the first group are fields of the grid itself."""


def parser() -> Parser:
    """The command's options."""
    made = Parser(
        prog="python -m bench.grid",
        description="Train flow formulations under one protocol, measure them, and print which is best.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "--preset", default="quick", metavar="NAME", help=" | ".join(PRESETS) + " (default quick)"
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/PRESET)")
    made.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default auto)"
    )
    made.add_argument(
        "--plugin",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help="files that register formulations",
    )
    made.add_argument(
        "--pack",
        type=pack,
        metavar="N",
        help="cells that train in one graph: auto or a number (default auto)",
    )
    made.add_argument(
        "--compile",
        default="auto",
        choices=("auto", "on", "off"),
        metavar="auto|on|off",
        help="torch.compile the model; auto decides by measurement (default auto)",
    )
    made.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    for title, _, options in GROUPS:
        group = made.add_argument_group(f"{title} (default: the preset's)")
        for o in options:
            many = {"nargs": "+"} if o.several else {}
            group.add_argument(f"--{o.name}", type=o.type, metavar=o.metavar, help=o.help, **many)  # type: ignore[arg-type]
    return made


def parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, Grid]:
    """The options and the grid they describe. Raises :class:`UserError`."""
    made = parser()
    args, unknown = made.parse_known_args(argv)
    made.check_unknown(unknown)
    if args.pack is not None and args.pack < 1:
        raise UserError(f"--pack {args.pack}: must be greater than 0")
    return args, override(preset(args.preset), args)


def override(grid: Grid, args: argparse.Namespace) -> Grid:
    """The preset with the options that were given."""
    changes: dict[str, Any] = {}
    for _, part, options in GROUPS:
        values = {o.target: getattr(args, o.name.replace("-", "_")) for o in options}
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None}
        if part is None:
            if "datasets" in given:
                given["datasets"] = tuple(datasets(given["datasets"]))
            changes |= given
        elif given:
            changes[part] = replace(getattr(grid, part), **given)
    return replace(grid, **changes)
