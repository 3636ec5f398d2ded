"""``python -m bench.grid``: plan, train, measure, rank. See ``--help``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import formulations
from bench import STARTED, cli, confirm, places, plan, status
from bench.launch import drive, minutes, trust
from bench.launch.describe import describe
from samplers.command import outcome
from samplers.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if a cell failed, 2 for a user's mistake, 130 if interrupted."""
    interrupted = "interrupted: the same command again does only what is missing, from the last checkpoints"
    return outcome(lambda: command(argv), interrupted)


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args = cli.parse(argv)
    load_plugins(args.plugins)
    check_folder(args.out)
    if args.look not in ("status", "watch") and not args.execution.trusted:
        trust.check(args.out)
    if args.look in (None, "dry-run"):
        places.settle(lambda text: print(text, file=sys.stderr))
    planned = plan.make(args.grid if args.minutes is None else minutes.begun(args.grid, args.out), args.out)
    if args.confirm is not None and args.minutes is not None:
        planned = minutes.trimmed(planned)
    if args.confirm is not None:
        planned = confirm.plan(planned, args.confirm)
    if args.look == "dry-run":
        print(describe(planned, args))
        return 0
    if args.look == "status":
        return status.show(planned)
    if args.look == "watch":
        return status.watch(planned)
    if args.look == "cancel":
        return drive.cancel(args.out)
    if args.minutes is not None and args.confirm is None:
        return minutes.run(planned, args, sys.argv[1:] if argv is None else argv, STARTED)
    return drive.run(planned, args, sys.argv[1:] if argv is None else argv, STARTED)


def load_plugins(files: Sequence[Path]) -> None:
    """Import the user's plugin files."""
    for file in files:
        formulations.load_plugin(file)


def check_folder(out: Path) -> None:
    """Refuse a folder that holds something else than a run."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file: name a folder")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if there and not there & {"grid.json", ".lock"}:  # .lock is the first that a beginning command makes
        raise UserError(
            f"--out {out} is not empty and not a run folder: name a new one, for example {out / 'run'}"
        )


if __name__ == "__main__":
    sys.exit(main())
