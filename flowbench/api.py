"""What ``import flowbench as fb`` offers: the commands as functions, which raise where a command prints ``error: ...``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import compare as comparing
from bench import grid
from bench.cli import parser
from bench.drawing import Trained, canonical, choose, sheet, trained
from flowbench._core import logs
from flowbench._core.arguments import checked
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

if TYPE_CHECKING:
    import pandas as pd

    from analysis.comparisons.baseline import Comparisons

__all__ = ["TrainedRun", "compare", "load", "rank", "sheet", "train"]

Place = str | os.PathLike[str]


@dataclass(frozen=True)
class TrainedRun:
    """The trained models of a run folder by formulation: ``run["rf"].sample("a photo of the digit seven")``.

    It is a path, too, for everything that takes one. Of several seeds the first is meant; ``dataset`` and ``cell`` choose
    where a formulation has more than one model. The folder is read at each access, so that a run may still be training.
    """

    path: Path
    dataset: str | None = None
    cell: str | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    @checked
    def __getitem__(self, formulation: str) -> Trained:
        """The model of a formulation, in any spelling of its numbers.

        Raises:
            UserError: no such formulation is trained, with the nearest names, or several cells of it are.
        """
        return choose(trained(self.path), formulation, self.dataset, self.cell)

    @property
    def names(self) -> tuple[str, ...]:
        """The formulations that have a trained model."""
        return tuple(dict.fromkeys(each.cell.formulation for each in trained(self.path)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, formulation: object) -> bool:
        return isinstance(formulation, str) and canonical(formulation) in self.names


@checked
def train(formulations: str | Sequence[str] = (), *, out: Place | None = None, **options: Any) -> TrainedRun:
    """Train formulations, measure and rank them as ``python -m bench.grid`` does, and print the same.

    What is finished in the run folder is not trained again.

    Args:
        formulations: names, globs, suites, or formulations of plugin files as ``my.py:late``; those of the preset if empty.
        out: the run folder, ``runs/PRESET`` by default.
        options: those of the command: ``steps=200, seeds=2, datasets="digits", preset="smoke"``. A list gives an option
            several values, True is an option without a value; None and False leave one out.

    Returns:
        The run; of a queue's launcher before its jobs have trained anything.

    Raises:
        UserError: a mistake, with the nearest valid choice, or no cell that could be trained.
    """
    names = [formulations] if isinstance(formulations, str) else list(formulations)
    argv, started = words({"formulations": names or None, "out": out, **options}), time.perf_counter()
    with logs.shown():
        args = parser.parse(argv)
        if args.look:
            raise UserError(f"fb.train has no {args.look}: use python -m bench.grid --{args.look}")
        code = grid.run(args, argv, started)
    if code and not any(args.out.glob("cells/*/ema.safetensors")):
        raise UserError("no cell could be trained, as the messages above say")
    return TrainedRun(args.out)


@checked
def load(
    run: Place, *, dataset: str | None = None, cell: str | None = None, plugin: Place | Sequence[Place] = ()
) -> TrainedRun:
    """Open the trained models of a run folder, or the one of a kept model (``python -m bench.keep``).

    Args:
        run: the folder.
        dataset: which of the run's datasets.
        cell: the id of a cell, where that is not the only one.
        plugin: files that register formulations or solvers of the run.

    Raises:
        UserError: a folder without trained models, with the nearest one that has some.
    """
    for file in [plugin] if isinstance(plugin, str | os.PathLike) else plugin:
        load_plugin(Path(file))
    path = Path(run).expanduser()
    trained(path)
    return TrainedRun(path, dataset, cell)


@checked
def rank(run: Place, *, where: str | Sequence[str] = (), by: str | None = None) -> pd.DataFrame:
    """Rank the formulations of a run: the numbers of ``python -m analysis.rank``, a row each, the best first.

    Args:
        run: a run folder, or a ``.parquet`` or ``.csv`` file of results.
        where: conditions on the rows that take part, such as ``["dataset=digits", "weights=ema"]``.
        by: also a rank column for each value of this column, such as ``"steps"``.

    Raises:
        UserError: no such run, or nothing to rank in it.
    """
    from analysis.ranking import ranking
    from analysis.runs import run as results

    conditions = [where] if isinstance(where, str) else where
    return ranking.rank(results.read(Path(run), conditions), by).frame()


@checked
def compare(*formulations: str, **options: Any) -> Comparisons:
    """Compare formulations as ``python -m bench.compare`` does, and print the same; returns the numbers.

    ``formulations`` are its arguments and ``options`` its options, as of :func:`train`:
    ``compare("my.py:late", "rf", minutes=10)``.

    Raises:
        UserError: a mistake, with the nearest valid choice, or nothing that could be compared.
    """
    with logs.shown():
        _, found = comparing.command([*formulations, *words(options)], time.perf_counter())
    if found is None:
        raise UserError("nothing could be compared, as the messages above say")
    return found


def words(options: Mapping[str, Any]) -> list[str]:
    """Options as a command line has them."""
    found: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        several = list(value) if isinstance(value, list | tuple) else [] if value is True else [value]
        found += [
            f"--{name.replace('_', '-')}",
            *(str(os.fspath(v) if isinstance(v, os.PathLike) else v) for v in several),
        ]
    return found
