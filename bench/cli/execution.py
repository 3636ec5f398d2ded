"""The options of how workers run, which change no result beyond float rounding. No torch."""

from __future__ import annotations

import argparse
from dataclasses import fields
from math import inf
from typing import get_args

from bench import tracking
from bench.launch.launchers import Launcher
from bench.runfolder.submission import MODES, Execution, Recompute
from flowbench._core.command import FLOAT, INT, number
from flowbench._core.errors import UserError


def pack(text: str) -> int | None:
    """``auto`` is None."""
    return None if text == "auto" else number(int, "'auto' or a whole number")(text)


def minutes(text: str) -> float:
    """Minutes as seconds."""
    return 60 * float(FLOAT(text))


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
        "--replicas",
        type=INT,
        default=Execution.replicas,
        metavar="R",
        help="devices that train a pack together, each on its part of every batch (default 1)",
    )
    running.add_argument(
        "--accumulate",
        type=INT,
        default=Execution.accumulate,
        metavar="N",
        help="micro-batches of a step, whose gradients are added: less memory, the same batch (default 1)",
    )
    running.add_argument(
        "--recompute",
        default=Execution.recompute,
        choices=get_args(Recompute),
        metavar="off|blocks",
        help="activation checkpointing: blocks keeps each block's inputs and computes the rest again in the backward pass, "
        "for less memory and a third more time (default off)",
    )
    running.add_argument(
        "--compile",
        default="auto",
        choices=("auto", "on", "off"),
        metavar="auto|on|off",
        help="torch.compile the model; auto decides by measurement (default auto)",
    )
    running.add_argument(
        "--checkpoint",
        type=minutes,
        default=Execution.checkpoint,
        metavar="MINUTES",
        help="between checkpoints (default 5)",
    )
    running.add_argument(
        "--track",
        metavar="NAME",
        help=f"show losses and metrics live, a run a cell: {', '.join(tracking.registry.entries)}, or a plugin's",
    )
    running.add_argument(
        "--probes",
        action="store_true",
        help="measure each block's largest attention logit and attention entropy at every validation (metrics.jsonl)",
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
        dest="trusted",
        action="store_true",
        help="use a run folder that another user owns or can write into: what lies there is run as you",
    )


def execution_of(args: argparse.Namespace, launcher: Launcher) -> Execution:
    """How workers run that ``launcher`` starts. Raises :class:`UserError`."""
    for name, unit, most in (
        ("pack", 1, inf),
        ("slots", 1, inf),
        ("accumulate", 1, inf),
        ("replicas", 1, inf),
        ("checkpoint", 60, 60e9),
        ("tflops", 1, inf),
        ("price", 1, inf),
    ):
        value = getattr(args, name)
        if value is not None and not 0 < value < most:
            raise UserError(f"--{name} {value / unit:g}: must be a finite number greater than 0")
    if args.replicas > 1 and args.device not in ("auto", "cpu", "cuda"):
        raise UserError(
            f"--device {args.device}: each of {args.replicas} replicas has a device of its own, choose auto, cpu or cuda"
        )
    if args.track is not None:
        tracking.get(args.track)
    given = {f.name: getattr(args, f.name) for f in fields(Execution) if f.name != "executor"}
    return launcher.accept(Execution(launcher.name, **given))
