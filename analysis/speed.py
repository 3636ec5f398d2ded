"""``python -m analysis.speed``: how long the analysis takes on this machine, as whole processes on made-up run folders.

A benchmark, not a test: what it prints depends on the machine and on what else runs there.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from analysis.runs import options, synthetic
from flowbench._core.command import INT, outcome
from flowbench._core.errors import UserError, nearest

PARTS = ("help", "rank", "load", "report")


@dataclass(frozen=True)
class Row:
    """Seconds of one thing: the median and the smallest of its runs."""

    what: str
    median: float
    least: float
    runs: int


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = options.parser(
        "speed",
        "Time the analysis on made-up run folders: 61 formulations x 24 settings x 5 seeds; 10,000 cells.",
    )
    made.add_argument("--parts", nargs="+", default=list(PARTS), metavar="PART", help=" | ".join(PARTS))
    made.add_argument("--repeat", type=INT, default=3, metavar="N", help="runs of each (default 3)")
    made.add_argument("--out", type=Path, metavar="FILE", help="also write the rows as JSON")
    args = made.parse(argv)
    for part in args.parts:
        if part not in PARTS:
            raise UserError(f"--parts {part!r}: {nearest(part, PARTS)}")
    if args.repeat < 1:
        raise UserError(f"--repeat {args.repeat}: must be a whole number from 1")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(Path(folder), args.parts, args.repeat):
            print(f"{row.what:<66} {row.median:7.2f} s  (least {row.least:.2f}, {row.runs} runs)", flush=True)
            rows.append(asdict(row))
    if args.out:
        about = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        args.out.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(folder: Path, parts: Sequence[str], repeat: int) -> Iterator[Row]:
    """Time the parts in ``folder``."""
    import formulations

    truth = synthetic.truth(formulations.names("paper"))
    if "help" in parts:
        for name in ("rank", "plots", "scaling", "report"):
            yield timed(f"analysis.{name} --help", [f"analysis.{name}", "--help"], repeat)
    if "rank" in parts:
        study = synthetic.write(folder / "study", truth, datasets=("a", "b"), seeds=5)
        what = "61 formulations x 24 settings x 5 seeds, all intervals"
        yield timed(f"analysis.rank, {what}, first", ["analysis.rank", str(study)], repeat, fresh(study))
        yield timed(f"analysis.rank, {what}, again", ["analysis.rank", str(study)], repeat)
    if "load" in parts:
        names = tuple(f"rf/mode({i / 1000:.3f})" for i in range(1000))
        large = synthetic.write(
            folder / "large", synthetic.truth(names), datasets=("a", "b"), seeds=5, samples=8
        )
        yield loaded("10,000 cells collected for the first time", large, repeat, fresh(large))
        yield loaded("10,000 cells where nothing changed", large, repeat)
        yield loaded("10,000 cells where one changed", large, repeat, touched(large))
    if "report" in parts:
        shown = synthetic.write(folder / "shown", truth, seeds=3, pictures=16)
        yield timed(
            "analysis.report, 61 formulations x 12 settings x 3 seeds",
            ["analysis.report", str(shown)],
            repeat,
        )


def timed(what: str, arguments: Sequence[str], repeat: int, before: Callable[[], None] = lambda: None) -> Row:
    """Time ``python -m`` with these arguments."""
    return _row(what, [sys.executable, "-m", *arguments], repeat, before)


def loaded(what: str, folder: Path, repeat: int, before: Callable[[], None] = lambda: None) -> Row:
    """Time reading a folder, with Python's start and the imports."""
    code = "import sys; from analysis.runs import run; print(len(run.read(sys.argv[1]).frame))"
    return _row(what, [sys.executable, "-c", code, str(folder)], repeat, before)


def fresh(folder: Path) -> Callable[[], None]:
    """Forget the folder's table."""
    return lambda: (folder / "results.parquet").unlink(missing_ok=True)


def touched(folder: Path) -> Callable[[], None]:
    """Let one cell look as if it had been measured again."""
    return lambda: next((folder / "cells").glob(f"*/{synthetic.EVALUATION}/result.json")).touch()


def _row(what: str, words: Sequence[str], repeat: int, before: Callable[[], None]) -> Row:
    seconds = []
    for _ in range(repeat):
        before()
        started = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
        if done.returncode:
            raise UserError(f"{what} ended with code {done.returncode}: {done.stderr.strip()[-300:]}")
    return Row(what, sorted(seconds)[len(seconds) // 2], min(seconds), repeat)


if __name__ == "__main__":
    sys.exit(main())
