"""The options of ``python -m bench.grid``, and how they change a preset. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from bench.cells import Retry
from bench.config import PRESETS, Grid, Setting, preset
from bench.launch.options import SlurmOptions, take
from bench.launch.options import parse as slurm_options
from bench.launch.submission import EXECUTORS, MODES, Execution, Readers
from samplers.errors import UserError, nearest

EPILOG = """\
examples:
  python -m bench.grid                                    the quick preset
  python -m bench.grid --dry-run --preset paper           what the whole study would run
  python -m bench.grid --formulations rf 'edm*' --samplers 'lognorm(0,1)' cosmap
  python -m bench.grid --plugin mine.py --formulations headline my/path
  python -m bench.grid --preset paper --seeds 3 --executor slurm --slurm.partition=gpu --slurm.time=8:00:00
  python -m bench.grid --preset paper --seeds 3 --status
The same command again does only what is missing.
"""
LOOKS = ("dry-run", "status", "watch", "cancel")
"""What a command can do instead of running."""


@dataclass(frozen=True)
class Arguments:
    """What was asked for. ``look`` is one of :data:`LOOKS`, or None to run; ``execution`` and below change no result."""

    grid: Grid
    out: Path
    plugins: tuple[Path, ...]
    look: str | None
    execution: Execution
    slurm: SlurmOptions
    wait: bool
    retry: Retry | None
    canary: bool
    readable_by: Readers
    tflops: float | None


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
        "--plugin",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar="FILE",
        help="files that register formulations",
    )
    looking = made.add_argument_group("look, and run nothing")
    for name, text in (
        ("dry-run", "print the plan: cells, workers, device-hours, disk"),
        ("status", "print what is done, at work, queued and failed, and why"),
        ("watch", "the same, again and again until nothing is at work"),
        ("cancel", "cancel what is at work or queued; cells keep their checkpoints"),
    ):
        looking.add_argument(f"--{name}", action="store_true", help=text)
    running = made.add_argument_group("running: changes no result beyond float rounding")
    running.add_argument(
        "--executor",
        default="local",
        metavar="NAME",
        help="local: every GPU of this machine, or its cores; slurm: submit, print the ids and return (default local)",
    )
    running.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="auto, cpu, cuda, cuda:1, mps (default auto; slurm: cuda)",
    )
    running.add_argument(
        "--slots", type=INT, metavar="N", help="local: workers at a time (default one for each GPU, else 1)"
    )
    running.add_argument(
        "--pack",
        type=pack,
        metavar="N",
        help="cells that train in one graph: auto or a number (default auto)",
    )
    running.add_argument(
        "--compile",
        default="auto",
        choices=("auto", "on", "off"),
        metavar="auto|on|off",
        help="torch.compile the model; auto decides by measurement (default auto)",
    )
    running.add_argument(
        "--checkpoint", type=FLOAT, default=5.0, metavar="MINUTES", help="between checkpoints (default 5)"
    )
    running.add_argument(
        "--canary",
        action="store_true",
        help="the first cell of each formulation first; the rest waits for it",
    )
    running.add_argument(
        "--retry",
        choices=("failed", "all"),
        metavar="failed|all",
        help="also run failed cells from where they were; all: failed and diverged cells from the start",
    )
    running.add_argument("--wait", action="store_true", help="slurm: wait until all is done, and rank")
    running.add_argument(
        "--readable-by",
        default="me",
        choices=tuple(MODES),
        metavar="me|group|all",
        help="who may read a new run folder (default me)",
    )
    running.add_argument(
        "--tflops",
        type=FLOAT,
        metavar="X",
        help="10^12 operations a second of a device, for the estimate of --dry-run",
    )
    running.add_argument(
        "--slurm.KEY",
        dest="slurm",
        metavar="VALUE",
        help="any option of submitit or sbatch: --slurm.partition=gpu --slurm.time=4:00:00 --slurm.gpus_per_node=1 "
        "--slurm.array_parallelism=32 --slurm.account=me --slurm.qos=low --slurm.constraint=a100 --slurm.gres=gpu:1 ...",
    )
    for title, _, options in GROUPS:
        group = made.add_argument_group(f"{title} (default: the preset's)")
        for o in options:
            many = {"nargs": "+"} if o.several else {}
            group.add_argument(f"--{o.name}", type=o.type, metavar=o.metavar, help=o.help, **many)  # type: ignore[arg-type]
    return made


def parse(argv: Sequence[str] | None) -> Arguments:
    """The command line. Raises :class:`UserError`."""
    made = parser()
    pairs, rest = take(sys.argv[1:] if argv is None else argv)
    args, unknown = made.parse_known_args(rest)
    made.check_unknown(unknown)
    look = [name for name in LOOKS if getattr(args, name.replace("-", "_"))]
    if len(look) > 1:
        raise UserError(f"--{look[0]} and --{look[1]}: choose one")
    execution = execution_of(args)
    if pairs and execution.executor != "slurm":
        raise UserError(f"--slurm.{pairs[0][0]} needs --executor slurm")
    return Arguments(
        override(preset(args.preset), args),
        (args.out or Path("runs") / args.preset).absolute(),
        tuple(dict.fromkeys(args.plugin)),
        look[0] if look else None,
        execution,
        slurm_options(pairs),
        args.wait,
        args.retry,
        args.canary,
        args.readable_by,
        args.tflops,
    )


def execution_of(args: argparse.Namespace) -> Execution:
    """How workers run. Raises :class:`UserError`."""
    if args.executor not in EXECUTORS:
        raise UserError(f"--executor {args.executor!r}: {nearest(args.executor, EXECUTORS)}")
    for name in ("pack", "slots", "checkpoint", "tflops"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise UserError(f"--{name} {value:g}: must be a finite number greater than 0")
    on_slurm = args.executor == "slurm"
    if on_slurm and args.slots is not None:
        raise UserError("--slots is for --executor local: use --slurm.array_parallelism")
    device = "cuda" if on_slurm and args.device == "auto" else args.device
    return Execution(args.executor, device, args.pack, args.compile, 60 * args.checkpoint, args.slots)


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
