"""The command line of ``python -m bench.grid``. No torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cli import config_file, conflicts
from bench.cli.execution import add_workers, execution_of
from bench.cli.fields import add_experiment, add_start, override
from bench.config.experiment import MOST_SEEDS, Grid
from bench.config.presets import MINUTES, preset
from bench.launch import launchers
from bench.launch.launchers import DEFAULT, Launcher
from bench.planning.decision import Decision, add_decision, decision_of
from bench.planning.plan import Against
from bench.runfolder.cell_folder import Retry
from bench.runfolder.manifest import PROGRAM
from bench.runfolder.submission import Execution, Readers
from flowbench._core.command import FLOAT, INT, POSITIVE, Parser
from flowbench._core.errors import UserError
from flowbench._core.plugin import each_once, load_plugin
from formulations.from_file import FORM, Named, named

EPILOG = """\
examples:
  python -m bench.grid                                    the quick preset
  python -m bench.grid --dry-run --preset paper           what the whole study would run
  python -m bench.grid --formulations rf 'edm*' --samplers 'lognorm(0,1)' cosmap
  python -m bench.grid --plugin mine.py --formulations headline my/path
  python -m bench.grid --preset paper --seeds 3 --executor slurm --slurm.partition=gpu --slurm.time=8:00:00
  python -m bench.grid --preset paper --seeds 3 --status
  python -m bench.grid --config runs/paper/config.toml --seeds 5 --out runs/more
  python -m bench.grid --preset paper --seeds 3 --confirm 5      is the best one still the best on five new seeds?
  python -m bench.grid --until decided                    seed after seed until one is the best
  python -m bench.grid --preset scaling --seeds 3                loss against size and compute
The same command again runs only unfinished cells. Two formulations or a few: python -m bench.compare A B
"""
LOOKS = ("dry-run", "status", "watch", "cancel")
"""What a command can do instead of running."""

AS_GIVEN = ("wait", "retry", "canary", "readable_by", "tflops", "price", "confirm")
"""Fields of :class:`Arguments` that are options as they are."""


@dataclass(frozen=True)
class Arguments:
    """What was asked for. ``look`` is one of :data:`LOOKS`, or None to run; ``grid`` and ``plugins`` say what cells are.

    ``confirm`` is the number of fresh seeds on which the best of the grid are run again. With ``minutes`` seeds are run one
    after the other for so long (:mod:`bench.driver.seed_by_seed`), and ``grid`` has as many as there may be at most; so it
    has with ``race``, until that is decided. ``program`` is the module that was called.
    """

    grid: Grid
    out: Path
    plugins: tuple[Path, ...]
    execution: Execution
    launcher: Launcher
    look: str | None = None
    wait: bool = False
    retry: Retry | None = None
    canary: bool = False
    readable_by: Readers | None = None
    tflops: float | None = None
    price: float | None = None
    confirm: int | None = None
    minutes: float | None = None
    race: Decision | None = None
    against: Against | None = None
    program: str = PROGRAM


def parser() -> Parser:
    """The command's options."""
    made = Parser(
        prog="python -m bench.grid",
        description="Train flow formulations under one protocol, measure them, and print which is best.",
        epilog=EPILOG,
    )
    add_start(made)
    made.add_argument("--out", type=Path, metavar="DIR", help="run folder (default runs/PRESET)")
    made.add_argument(
        "--confirm",
        type=INT,
        metavar="K",
        help="after the grid: the formulations statistically tied with the best, or it and its runner-up, on K new seeds",
    )
    made.add_argument(
        "--minutes",
        type=FLOAT,
        metavar="M",
        help="local: train seed after seed until the time is over; a seed that it cuts off is kept for the next command. "
        "With --seeds N, N seeds at most (default: quick 4 without --seeds, else no limit)",
    )
    deciding = made.add_argument_group("comparisons that hold at every look")
    deciding.add_argument(
        "--until",
        choices=("decided",),
        metavar="decided",
        help="local: a race, seed after seed until one formulation is the best; those that another one beats are out and no "
        "longer trained. --minutes and --seeds are limits (default none)",
    )
    deciding.add_argument(
        "--baseline", metavar="NAME", help="also print how every other formulation compares with this one"
    )
    add_decision(deciding)
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
        default=DEFAULT,
        metavar="NAME",
        help="local: every GPU of this machine, or its cores; slurm: submit, print the ids and return; or a plugin's "
        "(default local)",
    )
    add_workers(running)
    running.add_argument(
        "--canary",
        action="store_true",
        help="the first cell of each formulation first; the rest waits for it",
    )
    running.add_argument(
        "--wait",
        action="store_true",
        help="until all is done; submit again what was lost, and rank",
    )
    running.add_argument(
        "--tflops",
        type=POSITIVE,
        metavar="X",
        help="10^12 operations a second of a device, for the estimate of --dry-run: its peak times the fraction that you "
        "expect, as 400 for 40 %% of an H100's 989",
    )
    running.add_argument(
        "--price",
        type=POSITIVE,
        metavar="X",
        help="of a device-hour, in any currency, for the estimate of --dry-run",
    )
    running.add_argument(
        "--slurm.KEY",
        dest="slurm",
        metavar="VALUE",
        help="any option of submitit or sbatch: --slurm.partition=gpu --slurm.time=4:00:00 --slurm.gpus_per_node=1 "
        "--slurm.array_parallelism=32 --slurm.account=me --slurm.qos=low --slurm.constraint=a100 --slurm.gres=gpu:1 ...",
    )
    add_experiment(made)
    return made


def parse(argv: Sequence[str] | None) -> Arguments:
    """The command line. Raises :class:`UserError`."""
    made = parser()
    pairs, rest = launchers.take(sys.argv[1:] if argv is None else argv)
    config_file.set_defaults(made, rest)
    args = made.parse(rest)
    look = [name for name in LOOKS if getattr(args, name.replace("-", "_"))]
    if len(look) > 1:
        raise UserError(f"--{look[0]} and --{look[1]}: choose one")
    conflicts.check(args, look[0] if look else None)
    for file in args.plugin:
        load_plugin(file)
    files = name_those_of_files(args)
    launcher = launchers.get(args.executor, pairs.pop(args.executor, None))
    execution = execution_of(args, launcher)
    minutes, decision = minutes_of(args, launcher), decision_of(args)
    grid = grid_of(args, open_ended=minutes is not None or bool(args.until))
    for name, given in pairs.items():
        option = f"--{name}.{given[0][0]}"
        made.check_unknown([] if launchers.registry.find(name) else [option])
        raise UserError(f"{option} needs --executor {name}")
    return Arguments(
        grid,
        (args.out or Path("runs") / args.preset).absolute(),
        each_once([*args.plugin, *files]),
        execution,
        launcher,
        look[0] if look else None,
        minutes=minutes,
        race=decision if args.until else None,
        against=Against(args.baseline, decision) if args.baseline is not None else None,
        **{name: getattr(args, name) for name in AS_GIVEN},
    )


def name_those_of_files(args: argparse.Namespace) -> list[Path]:
    """Replace formulations of plugin files, ``my.py:late``, by their names, and load the files; returns these. Raises
    :class:`UserError`."""
    found = [named(text) if FORM.fullmatch(text) else Named(text) for text in args.formulations or ()]
    args.formulations = [each.name for each in found] or None
    return [each.file for each in found if each.file]


def grid_of(args: argparse.Namespace, open_ended: bool) -> Grid:
    """The experiment; ``open_ended`` with as many seeds as there can be, unless a number is given. Raises
    :class:`UserError`."""
    grid = override(preset(args.preset), args)
    if not 0 <= grid.first_seed < MOST_SEEDS:
        raise UserError(f"--first-seed {grid.first_seed}: choose 0 to {MOST_SEEDS - 1}")
    if open_ended and args.seeds is None:
        grid = replace(grid, seeds=MOST_SEEDS - grid.first_seed)
    if grid.every_seed[-1] >= MOST_SEEDS:
        raise UserError(
            f"--first-seed {grid.first_seed} --seeds {grid.seeds}: seeds from {MOST_SEEDS} on are those of --confirm: "
            f"choose --seeds {MOST_SEEDS - grid.first_seed} or fewer"
        )
    return grid


def minutes_of(args: argparse.Namespace, launcher: Launcher) -> float | None:
    """For how long seeds are run, None for a fixed number of seeds. Raises :class:`UserError`."""
    if args.until and not launcher.drives:
        raise UserError(
            f"--until decided is for --executor {DEFAULT}, as it looks at the results after each seed: choose --seeds"
        )
    if args.minutes is None:
        fixed = args.seeds is not None or not launcher.drives or args.until
        return None if fixed else MINUTES.get(args.preset)
    if not 0 < args.minutes < 1e6:
        raise UserError(
            f"--minutes {args.minutes:g}: must be a number greater than 0 and less than a million"
        )
    if not launcher.drives:
        raise UserError(
            f"--minutes is for --executor {DEFAULT}, as a queue keeps its own time: choose --seeds"
        )
    return float(args.minutes)
