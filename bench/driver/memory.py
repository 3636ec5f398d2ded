"""The memory that a worker takes, against what its launcher gives it. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.config.experiment import Grid
from bench.cost.estimate import size
from bench.launch.launchers import PROCESS, Given, Launcher
from bench.planning.plan import Planned, kind
from bench.planning.requirements import by_cell
from bench.runfolder.submission import Execution
from flowbench._core.errors import UserError


@dataclass(frozen=True)
class Memory:
    """What the largest training step takes, at most and at least, against what it is given.

    On a GPU the two differ: bf16 and kernels that keep no attention may save all but what parameters take.
    """

    step: str
    most: float
    least: float
    given: Given

    def __str__(self) -> str:
        takes = f"{self.step} takes about {size(self.most)}"
        amount, where = self.given.amount, self.given.where
        return f"{takes}; {where}" if amount is None else f"{takes}, and {size(amount)} {where}"

    @property
    def doubtful(self) -> bool:
        """Whether it may not fit."""
        return self.given.amount is not None and self.most > self.given.amount

    def check(self) -> None:
        """Raises :class:`UserError` if it does not fit."""
        if self.given.amount is not None and self.least > self.given.amount:
            raise UserError(f"{self}: take less, or {self.given.advice}")


def needed(
    divided: Sequence[Sequence[Planned]], grid: Grid, execution: Execution, launcher: Launcher
) -> Memory | None:
    """The memory of the largest training step of all workers; None if nothing is trained."""
    look, most = by_cell(grid), execution.pack or 1
    graphs = [(min(most, count), p.cell) for part in divided for p, count in graphs_of(part)]
    if not graphs:
        return None
    parts, recompute, shards = execution.parts, execution.recompute == "blocks", execution.shards
    how = parts, recompute, shards
    together, cell = max(graphs, key=lambda graph: graph[0] * look(graph[1]).training_bytes(*how))
    requirements, given = look(cell), launcher.memory(execution)
    what = f"--pack {together}" if together > 1 else f"--depth {cell.model.depth}"
    takes = together * requirements.training_bytes(*how)
    batch = f"--batch {cell.training.batch}" + f" in {parts} parts" * (parts > 1)
    batch += " --recompute blocks" * recompute + " --shard blocks" * (shards > 1)
    several = f" on each of {given.replicas} replicas" * (given.replicas > 1)
    return Memory(
        f"{what}: a training step with {batch}{several}",
        given.replicas * (takes + PROCESS if given.process else takes),
        together * requirements.parameter_bytes(shards) if given.gpu else given.replicas * takes,
        given,
    )


def graphs_of(part: Sequence[Planned]) -> list[tuple[Planned, int]]:
    """Of the cells of a worker that are to be trained, one of each kind that can share a graph, and how many there are."""
    cells = [p for p in part if p.state != "trained"]
    counts = Counter(map(kind, cells))
    return [(p, counts[kind(p)]) for p in {kind(p): p for p in cells}.values()]
