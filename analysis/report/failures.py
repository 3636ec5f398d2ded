"""What did not work in a run: failed cells by cause, diverged cells with their steps, files that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.runs import schema
from analysis.runs.run import Run
from analysis.runs.sources import json_of

LINES = 6
"""Of a traceback."""


@dataclass(frozen=True)
class Cell:
    """A cell that has no result; ``step`` is where it diverged, if that is known."""

    formulation: str
    dataset: str
    seed: int
    step: int | None = None


@dataclass(frozen=True)
class Cause:
    """Failures that are alike: the error of the first of ``cells``, and the end of its traceback."""

    error: str
    cells: tuple[Cell, ...]
    story: tuple[str, ...]


@dataclass(frozen=True)
class Failures:
    """Of the ranking's cells and of a confirmation's; causes with most cells first."""

    causes: tuple[Cause, ...]
    diverged: tuple[Cell, ...]
    pending: tuple[Cell, ...]
    damaged: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.causes or self.diverged or self.pending or self.damaged)

    def of(self, formulation: str) -> list[tuple[str, Cell]]:
        """What became of a formulation's cells: pairs of a sentence and the cell."""
        failed = [(cause.error, cell) for cause in self.causes for cell in cause.cells]
        diverged = [
            ("diverged" if cell.step is None else f"diverged at step {cell.step:,}", cell)
            for cell in self.diverged
        ]
        return [(message, cell) for message, cell in failed + diverged if cell.formulation == formulation]


def failures(run: Run) -> Failures:
    """Read the failures from the table, and from the status of each cell where the cells are there."""
    causes: dict[str, list[tuple[Cell, str, str]]] = {}
    for cell, name in _cells(run, "failed"):
        error = json_of(run.source, name, "status.json").get("error")
        known = error if isinstance(error, dict) else {}
        message = str(known.get("message") or "the cause is not known")
        causes.setdefault(str(known.get("cause") or message), []).append((cell, message, name))
    made = [
        Cause(" ".join(group[0][1].split()), tuple(c for c, _, _ in group), _story(run, group[0][2]))
        for group in sorted(causes.values(), key=lambda g: -len(g))
    ]
    diverged = []
    for cell, name in _cells(run, "diverged"):
        step = json_of(run.source, name, "status.json").get("diverged_at_step")
        diverged.append(
            Cell(cell.formulation, cell.dataset, cell.seed, int(step) if step is not None else None)
        )
    pending = [cell for cell, _ in _cells(run, "pending")]
    return Failures(tuple(made), tuple(diverged), tuple(pending), run.damaged)


def _cells(run: Run, state: str) -> Iterator[tuple[Cell, str]]:
    """The cells of a status with their ids: of the plan, or, where there is none, of the table, without an id."""
    if run.manifests:
        for phase in schema.PHASES:
            for _, cell in run.cells(state, phase):
                yield Cell(cell.formulation, cell.dataset, cell.seed), cell.id
        return
    rows = run.frame[run.frame["status"] == state]
    for name, dataset, seed in (
        rows[["formulation", "dataset", "seed"]].drop_duplicates().itertuples(index=False)
    ):
        yield Cell(str(name), str(dataset), int(seed)), ""


def _story(run: Run, cell: str) -> tuple[str, ...]:
    """The last lines of a failure's traceback, which show where it was raised, without the marks under the code."""
    lines = run.source.text(cell, "error.txt").splitlines()
    return tuple([line for line in lines if line.strip(" ~^")][-LINES:])
