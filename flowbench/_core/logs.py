"""What commands show of the package loggers: plain lines on standard error, fewer with ``--quiet``, more with ``--verbose``.

Modules log by ``logging.getLogger(__name__)``; results are printed. Outside of a command nothing is shown.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("analysis", "bench", "flowbench", "formulations", "samplers")
"""The loggers at the top, one a package."""
PREFIXES = {logging.WARNING: "warning: ", logging.ERROR: "error: "}


class Lines(logging.Handler):
    """Prints each record as a line on what is standard error at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print(PREFIXES.get(record.levelno, "") + self.format(record), file=sys.stderr, flush=True)


class Level(argparse.Action):
    """``--quiet`` and ``--verbose``: what is shown from then on; ``const`` is the level."""

    def __call__(self, *given: Any, **named: Any) -> None:
        show(self.const)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and ``--verbose``."""
    either = parser.add_mutually_exclusive_group()
    for name, level, text in (
        ("verbose", logging.DEBUG, "also print which cells, where and for how long"),
        ("quiet", logging.ERROR, "print results and errors only"),
    ):
        either.add_argument(
            f"-{name[0]}",
            f"--{name}",
            action=Level,
            nargs=0,
            const=level,
            default=argparse.SUPPRESS,
            help=text,
        )


def show(level: int) -> None:
    """Show records from this level on."""
    for name in NAMES:
        logging.getLogger(name).setLevel(level)


@contextmanager
def shown(level: int = logging.INFO) -> Iterator[None]:
    """Within the block, records of the packages are lines on standard error; a block inside another one changes nothing."""
    loggers = [logging.getLogger(name) for name in NAMES]
    if any(isinstance(handler, Lines) for handler in loggers[0].handlers):
        yield
        return
    handler, before = Lines(), [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    show(level)
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
