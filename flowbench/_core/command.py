"""What every command line of flowbench shares: errors in one sentence, exit codes, numbers. It imports nothing heavy."""

from __future__ import annotations

import argparse
import logging
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from flowbench import STARTED, version
from flowbench._core import logs
from flowbench._core.errors import Notice, UserError, nearest
from flowbench._core.readable import standard_streams

log = logging.getLogger(__name__)


class Version(argparse.Action):
    """``--version``: the version of flowbench and of Python."""

    def __call__(self, parser: argparse.ArgumentParser, *given: Any, **named: Any) -> NoReturn:
        print(versions())
        parser.exit()
        raise AssertionError


def versions() -> str:
    """The versions of flowbench and of Python."""
    return f"flowbench {version()}, Python {platform.python_version()}"


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are :class:`UserError` with the nearest option.

    Options are given by their whole names. With an ``epilog``, such as examples, description and epilog keep their lines.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        usual: dict[str, Any] = {"allow_abbrev": False}
        if named.get("epilog"):
            usual["formatter_class"] = argparse.RawDescriptionHelpFormatter
        super().__init__(*given, **usual | named)
        self.add_argument(
            "--version",
            action=Version,
            nargs=0,
            default=argparse.SUPPRESS,
            help="print flowbench's version and exit",
        )
        logs.add_options(self)

    def error(self, message: str) -> NoReturn:
        raise UserError(message)

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The arguments. Raises :class:`UserError` for the first that is no option, with the nearest."""
        args, unknown = self.parse_known_args(argv)
        self.check_unknown(unknown)
        return args

    def check_unknown(self, unknown: Sequence[str]) -> None:
        """Raise for the first argument that is no option."""
        if unknown:
            options = [o for action in self._actions for o in action.option_strings if o.startswith("--")]
            raise UserError(
                f"unknown option {unknown[0]!r}: {nearest(unknown[0].partition('=')[0], options)}"
            )


def outcome(command: Callable[[], int], if_interrupted: str = "interrupted") -> int:
    """A command's exit code: its own, 2 for a user's mistake, 130 if interrupted; each in one sentence.

    Standard output and error replace what their encodings lack; a :class:`Notice` and each record of the package loggers
    (:mod:`flowbench._core.logs`) are a line on standard error.
    """
    standard_streams()
    with logs.shown():
        code = _outcome(command, if_interrupted)
        log.debug("%s, exit code %d after %.1f s", versions(), code, time.perf_counter() - STARTED)
    return code


def _outcome(command: Callable[[], int], if_interrupted: str) -> int:
    try:
        with notices_in_a_line():
            return command()
    except UserError as error:
        log.error("%s", error)
        return 2
    except BrokenPipeError:  # the reader, such as head, has seen enough; nothing is left to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        log.error("%s: %s", error.filename or "output", error.strerror or error)
        return 2
    except KeyboardInterrupt:
        print(if_interrupted, file=sys.stderr)
        return 130


def entry(command: Callable[[Sequence[str] | None], int]) -> Callable[..., int]:
    """The ``main`` of a command: returns its exit code, or 2 after one sentence about a user's mistake."""

    def main(argv: Sequence[str] | None = None) -> int:
        return outcome(lambda: command(argv))

    return main


@contextmanager
def notices_in_a_line() -> Iterator[None]:
    """Within the block every :class:`Notice` is printed as one sentence, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        before, shown = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if not issubclass(category, Notice):
                before(message, category, *where)
            elif str(message) not in shown:
                shown.add(str(message))
                log.warning("%s", message)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def number(kind: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    """A parser of numbers whose error is a sentence."""

    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}") from None

    return parse


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


INT, FLOAT = number(int, "a whole number"), number(float, "a number")
COUNT = number(_count, "a whole number greater than 0")
POSITIVE = number(_positive, "a finite number greater than 0")


def one_of(choices: Iterable[str]) -> Callable[[str], str]:
    """A parser of words out of ``choices``, whose error names the nearest."""
    known = tuple(choices)

    def parse(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"{text!r}: {nearest(text, known)}")
        return text

    return parse
