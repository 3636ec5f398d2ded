"""The options of how workers run, which change no result beyond float rounding. No torch."""

from __future__ import annotations

import argparse

from bench.launch.base import Launcher
from bench.runfolder.submission import MODES, Execution
from flowbench._core.command import FLOAT, INT, number
from flowbench._core.errors import UserError


def pack(text: str) -> int | None:
    """``auto`` is None."""
    return None if text == "auto" else number(int, "'auto' or a whole number")(text)


def add_workers(running: argparse._ArgumentGroup) -> None:
    """Add the options of workers on any machine, and of the folder that they write."""
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
        "--retry",
        choices=("failed", "all"),
        metavar="failed|all",
        help="also run failed cells from where they were; all: failed and diverged cells from the start",
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


def execution_of(args: argparse.Namespace, launcher: Launcher) -> Execution:
    """How workers run that ``launcher`` starts. Raises :class:`UserError`."""
    for name in ("pack", "slots", "checkpoint", "tflops"):
        value = getattr(args, name)
        if value is not None and not 0 < value < (1e9 if name == "checkpoint" else float("inf")):
            raise UserError(f"--{name} {value:g}: must be a finite number greater than 0")
    more = args.pack, args.compile, 60 * args.checkpoint, args.slots, args.trust_folder
    return launcher.accept(Execution(launcher.name, args.device, *more))
