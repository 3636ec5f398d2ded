"""The command line of ``python -m bench.grid``. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cells import Retry
from bench.config import MOST_SEEDS, Grid
from bench.fields import GROUPS, override
from bench.launch.options import SlurmOptions, take
from bench.launch.options import parse as slurm_options
from bench.launch.submission import EXECUTORS, MODES, Execution, Readers
from bench.presets import MINUTES, PRESETS, preset
from samplers.command import FLOAT, INT, Parser, number
from samplers.errors import UserError, nearest

EPILOG = """\
examples:
  python -m bench.grid                                    the quick preset
  python -m bench.grid --dry-run --preset paper           what the whole study would run
  python -m bench.grid --formulations rf 'edm*' --samplers 'lognorm(0,1)' cosmap
  python -m bench.grid --plugin mine.py --formulations headline my/path
  python -m bench.grid --preset paper --seeds 3 --executor slurm --slurm.partition=gpu --slurm.time=8:00:00
  python -m bench.grid --preset paper --seeds 3 --status
  python -m bench.grid --preset paper --seeds 3 --confirm 5      is the best one still the best on five new seeds?
  python -m bench.grid --preset scaling --seeds 3                loss against size and compute
The same command again does only what is missing.
"""
LOOKS = ("dry-run", "status", "watch", "cancel")
"""What a command can do instead of running."""


@dataclass(frozen=True)
class Arguments:
    """What was asked for. ``look`` is one of :data:`LOOKS`, or None to run; ``execution`` to ``tflops`` change no result.

    ``confirm`` is the number of fresh seeds on which the best of the grid are run again. With ``minutes`` seeds are run one
    after the other for so long (:mod:`bench.launch.seed_by_seed`), and ``grid`` has as many as there may be at most.
    """

    grid: Grid
    out: Path
    plugins: tuple[Path, ...]
    look: str | None
    execution: Execution
    slurm: SlurmOptions
    wait: bool
    retry: Retry | None
    canary: bool
    readable_by: Readers | None
    tflops: float | None
    confirm: int | None
    minutes: float | None


def pack(text: str) -> int | None:
    """``auto`` is None."""
    return None if text == "auto" else number(int, "'auto' or a whole number")(text)


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
    made.add_argument(
        "--confirm",
        type=INT,
        metavar="K",
        help="after the grid: the formulations that cannot be told from the best, or it and its runner-up, on K fresh seeds",
    )
    made.add_argument(
        "--minutes",
        type=FLOAT,
        metavar="M",
        help="local: train seed after seed until the time is over; a seed that it cuts off is kept for the next command. "
        "With --seeds N, N seeds at most (default: quick 4 without --seeds, else no limit)",
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
    running.add_argument(
        "--wait",
        action="store_true",
        help="until all is done; submit again what was lost, and rank",
    )
    running.add_argument(
        "--readable-by",
        choices=tuple(MODES),
        metavar="me|group|all",
        help="who may read a new run folder (default me)",
    )
    running.add_argument(
        "--trust-folder",
        action="store_true",
        help="use a run folder that another user owns or can write into: what lies there is run as you",
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
    args = made.parse(rest)
    look = [name for name in LOOKS if getattr(args, name.replace("-", "_"))]
    if len(look) > 1:
        raise UserError(f"--{look[0]} and --{look[1]}: choose one")
    check_together(args, look[0] if look else None)
    execution = execution_of(args)
    minutes = minutes_of(args)
    grid = override(preset(args.preset), args)
    if not 0 <= grid.first_seed < MOST_SEEDS:
        raise UserError(f"--first-seed {grid.first_seed}: choose 0 to {MOST_SEEDS - 1}")
    if minutes is not None and args.seeds is None:
        grid = replace(grid, seeds=MOST_SEEDS - grid.first_seed)
    if grid.every_seed[-1] >= MOST_SEEDS:
        raise UserError(
            f"--first-seed {grid.first_seed} --seeds {grid.seeds}: seeds from {MOST_SEEDS} on are those of --confirm: "
            f"choose --seeds {MOST_SEEDS - grid.first_seed} or fewer"
        )
    if pairs and execution.executor != "slurm":
        raise UserError(f"--slurm.{pairs[0][0]} needs --executor slurm")
    return Arguments(
        grid,
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
        args.confirm,
        minutes,
    )


def minutes_of(args: argparse.Namespace) -> float | None:
    """For how long seeds are run, None for a fixed number of seeds. Raises :class:`UserError`."""
    if args.minutes is None:
        fixed = args.seeds is not None or args.executor == "slurm"
        return None if fixed else MINUTES.get(args.preset)
    if not 0 < args.minutes < 1e6:
        raise UserError(
            f"--minutes {args.minutes:g}: must be a number greater than 0 and less than a million"
        )
    if args.executor == "slurm":
        raise UserError("--minutes is for --executor local, as a queue keeps its own time: choose --seeds")
    return float(args.minutes)


def check_together(args: argparse.Namespace, look: str | None) -> None:
    """Raises :class:`UserError` for an option that would do nothing beside another."""
    given = {"retry": args.retry, "wait": args.wait, "readable-by": args.readable_by}
    given |= {"trust-folder": args.trust_folder} if look in ("status", "watch") else {}
    given |= {"canary": args.canary, "tflops": args.tflops} if look != "dry-run" else {}
    for name, value in given.items():
        if value and look is not None:
            raise UserError(f"--{name} does nothing beside --{look}: leave one of them out")
    if args.confirm is not None and look == "cancel":
        raise UserError("--confirm does nothing beside --cancel: leave one of them out")
    if args.tflops and look is None:
        raise UserError("--tflops is for the estimate of --dry-run: leave it out, or add --dry-run")


def execution_of(args: argparse.Namespace) -> Execution:
    """How workers run. Raises :class:`UserError`."""
    if args.executor not in EXECUTORS:
        raise UserError(f"--executor {args.executor!r}: {nearest(args.executor, EXECUTORS)}")
    for name in ("pack", "slots", "checkpoint", "tflops"):
        value = getattr(args, name)
        if value is not None and not 0 < value < (1e9 if name == "checkpoint" else float("inf")):
            raise UserError(f"--{name} {value:g}: must be a finite number greater than 0")
    on_slurm = args.executor == "slurm"
    if on_slurm and args.slots is not None:
        raise UserError("--slots is for --executor local: use --slurm.array_parallelism")
    device = "cuda" if on_slurm and args.device == "auto" else args.device
    return Execution(
        args.executor, device, args.pack, args.compile, 60 * args.checkpoint, args.slots, args.trust_folder
    )
