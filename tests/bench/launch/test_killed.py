"""A worker that is killed anywhere continues, and leaves what an undisturbed one leaves: every file, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.config.experiment import Grid
from bench.launch.codes import SETTLED
from bench.runfolder.submission import Submission

from .forks import Forks, outcome

Submit = Callable[..., Submission]
OFTEN = {"checkpoint": 1e-9, "pack": 2}
POINTS = [
    ("metrics.jsonl", 4),
    ("ema.safetensors", 5),
    ("checkpoint-00000003", 9),
    ("images-", 5),
    ("result.json", 4),
]
"""The changes of files before which a worker is killed: in every stage, while it writes, renames and deletes."""
FURTHER = [
    ("checkpoint-00000002", 1),
    ("raw.safetensors", 2),
    ("status.json", 6),
    ("per_sample", 3),
    ("lease.json", 6),
]
"""In the same stages, at their other files."""


@pytest.fixture(scope="module")
def whole(workers: Forks, tiny: Grid, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed worker leaves."""
    from ..conftest import submission

    made = submission(tmp_path_factory.mktemp("whole") / "run", tiny, **OFTEN)
    assert workers.run(made)[0] == SETTLED
    found = outcome(made.out)
    assert len(found) == 2 * 8
    return found


@pytest.mark.parametrize(
    ("name", "number"), [*POINTS, *(pytest.param(*point, marks=pytest.mark.long) for point in FURTHER)]
)
def test_killed_at_every_stage(
    name: str, number: int, workers: Forks, submit: Submit, whole: dict[str, Any]
) -> None:
    made = submit(**OFTEN)
    assert workers.run(made, number, name) == (-9, number)
    assert workers.run(made)[0] == SETTLED
    assert outcome(made.out) == whole


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_killed_again_and_again(seed: int, workers: Forks, submit: Submit, whole: dict[str, Any]) -> None:
    """Each time a little later than the last progress."""
    made, rng, deaths = submit(**OFTEN), random.Random(seed), 0
    while workers.run(made, rng.randint(50, 110))[0] == -9:
        deaths += 1
        assert deaths < 20
    assert deaths >= 3
    assert outcome(made.out) == whole


def test_killed_while_it_measures_another_way(
    workers: Forks, tiny: Grid, submit: Submit, tmp_path: Path
) -> None:
    """The weights of the first evaluation stay as they are, and so do its results."""
    made = submit(**OFTEN)
    assert workers.run(made)[0] == SETTLED
    before = outcome(made.out)
    other = replace(tiny, evaluation=replace(tiny.evaluation, samples=6))
    second = submit(grid=other, **OFTEN)
    assert workers.run(second, 1, "per_sample")[0] == -9
    assert workers.run(second)[0] == SETTLED
    assert before.items() <= outcome(made.out).items()
    assert len(outcome(made.out)) == len(before) + 2 * 3
