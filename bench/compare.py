"""``python -m bench.compare A B``: does one formulation beat another? Seed after seed until that is decided.

All formulations train in one graph from the same seeds, so that differences are paired. After each seed every one is
compared with the baseline, by intervals and e-values that hold however often one looks (``analysis.comparisons.baseline``).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import config_file
from bench.cli.execution import add_workers, execution_of
from bench.cli.fields import SWEEPS, add_experiment, add_start
from bench.cli.parser import Arguments, grid_of
from bench.driver import seed_by_seed
from bench.driver.verdicts import UntilVerdict
from bench.grid import check_folders, with_metrics
from bench.launch import launchers
from bench.planning import decision, plan
from bench.planning.decision import add_decision, decision_of
from bench.planning.image_tokens import named as named_for
from bench.planning.plan import Against
from flowbench import STARTED
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.plugin import each_once, load_plugin
from formulations.from_file import Named, named

if TYPE_CHECKING:
    from analysis.comparisons.baseline import Comparisons

log = logging.getLogger("bench.compare")

PROGRAM = "bench.compare"
EPILOG = """\
examples:
  python -m bench.compare my.py:late 'rf/lognorm(0,1)'    LATE of my.py against the last one named
  python -m bench.compare my.py rf edm --baseline rf --minutes 30 --margin 3
  python -m bench.compare eps/cos v/cos --preset published --steps 2000 --metric clip
The same command again continues for as many minutes. Other comparisons in the folder use the cells that are trained.
"""
ELSEWHERE = ("formulations", "seeds", "samplers", *SWEEPS)
"""Options of an experiment that a comparison does not have, or has as arguments."""


def parser() -> Parser:
    """The command's options."""
    made = Parser(
        prog=f"python -m {PROGRAM}",
        description="Train formulations seed after seed until each is better or worse than the baseline, or equivalent to "
        "it. The probability of any false verdict is at most 5 %, however often you look and whenever you stop, unless "
        "differences are strongly skewed.",
        epilog=EPILOG,
    )
    made.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="formulations, by name or as FILE.py:NAME; FILE.py alone where it registers one (default those of --config)",
    )
    made.add_argument(
        "--baseline", metavar="NAME", help="what the others are compared with (default the last one named)"
    )
    made.add_argument(
        "--minutes", type=FLOAT, default=10.0, metavar="M", help="for so long at most (default 10)"
    )
    made.add_argument("--seeds", type=INT, metavar="N", help="so many seeds at most")
    add_start(made)
    made.add_argument(
        "--out", type=Path, default=Path("runs/compare"), metavar="DIR", help="default runs/compare"
    )
    add_decision(made.add_argument_group("what decides"))
    add_workers(made.add_argument_group("running: changes no result beyond float rounding"))
    add_experiment(made, without=ELSEWHERE)
    return made


def parse(argv: Sequence[str]) -> Arguments:
    """The command line; loads plugin files. Raises :class:`UserError`."""
    made = parser()
    config_file.set_defaults(made, argv, without=["samplers"])
    args, rest = made.parse_known_args(argv)
    made.check_unknown([word for word in rest if word.startswith("-")])
    names = [*args.names, *rest] or args.formulations or []  # also those behind options
    if not 0 < args.minutes < 1e6:
        raise UserError(
            f"--minutes {args.minutes:g}: must be a number greater than 0 and less than a million"
        )
    grid = grid_of(args, open_ended=True)
    grid.check_not_swept("a comparison")
    for file in args.plugin:
        load_plugin(file)
    launcher = launchers.get(launchers.DEFAULT)
    execution, decided = execution_of(args, launcher), decision_of(args)
    grid = with_metrics(grid)
    names, against = (
        [named_for(name, grid) for name in names],
        args.baseline and named_for(args.baseline, grid),
    )
    compared, baseline = formulations_of(names, against)
    files = [n.file for n in (*compared, baseline) if n.file]
    grid = replace(grid, formulations=tuple(n.name for n in compared), samplers=())
    decision.check(decided, grid)
    return Arguments(
        grid,
        args.out.absolute(),
        each_once([*args.plugin, *files]),
        execution,
        launcher,
        retry=args.retry,
        readable_by=args.readable_by,
        minutes=float(args.minutes),
        against=Against(baseline.name, decided),
        program=PROGRAM,
    )


def formulations_of(names: Sequence[str], baseline: str | None) -> tuple[tuple[Named, ...], Named]:
    """All formulations to train, each once, and the baseline among them, which comes last if it is not among the ``names``.

    Raises :class:`UserError` for fewer than two, and for one that is named twice.
    """
    if not names:
        raise UserError(
            f"name the formulations to compare, for example python -m {PROGRAM} my.py:late 'rf/lognorm(0,1)'"
        )
    found = [named(name) for name in names]
    for one in found:
        if [other.name for other in found].count(one.name) > 1:
            raise UserError(f"{one.name} is named twice: leave one out")
    against = found[-1] if baseline is None else named(baseline)
    if against.name not in [one.name for one in found]:
        found.append(against)
    if len(found) < 2:
        raise UserError(
            f"{against.name} has no other formulation to be compared with: name two, for example "
            f"python -m {PROGRAM} my.py:late {against.name!r}"
        )
    return tuple(found), against


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if a cell failed, 2 for a user's mistake, 130 if interrupted."""
    given = sys.argv[1:] if argv is None else list(argv)
    interrupted = "interrupted: the same command continues from the last checkpoints"
    return outcome(lambda: command(given, STARTED)[0], interrupted)


def command(argv: Sequence[str], started: float) -> tuple[int, Comparisons | None]:
    """The exit code of a comparison, and its numbers, None where there are none. Raises :class:`UserError`."""
    args = parse(argv)
    check_folders(args)
    begun = plan.make(seed_by_seed.begun(args.grid, args.out), args.out)
    planned = seed_by_seed.trimmed(replace(begun, against=args.against))
    rule = UntilVerdict(args, argv)
    return seed_by_seed.run(planned, args, argv, started, rule), rule.found


if __name__ == "__main__":
    sys.exit(main())
