"""Training that is interrupted or killed ends as if nothing had happened, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.config.experiment import Grid
from bench.runfolder import store
from bench.training import checkpoint
from bench.training.checkpoint import Checkpointer, State, Stopped
from bench.worker.setup import Setup
from flowbench._core import atomic
from formulations import Formulation

from ...disks import fill, mounted
from ..checkpoints import (
    EDM,
    EPS,
    RF,
    STEPS,
    Killed,
    Watched,
    diverging,
    everything,
    folders,
    killed,
    run,
    undisturbed,
)


@pytest.fixture(scope="module")
def whole(setup: Setup, grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return undisturbed(setup, grid, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def begun(setup: Setup, grid: Grid, tmp_path: Path) -> list[Path]:
    """With checkpoints of the 3rd and the 5th step of RF and EPS."""
    return killed(setup, grid, tmp_path)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from([RF, EPS, EDM]), min_size=1, max_size=3, unique_by=lambda f: f.name),
    dies=st.none() | st.integers(0, STEPS - 1),
    every=st.integers(1, 4),
    ends=st.lists(st.tuples(st.booleans(), st.integers(1, STEPS - 1)), min_size=1, max_size=3),
    optimiser=st.sampled_from(["adamw", "muon"]),
)
def test_an_interrupted_training_is_the_uninterrupted_one(
    setup: Setup,
    grid: Grid,
    tmp_path_factory: pytest.TempPathFactory,
    names: list[Formulation],
    dies: int | None,
    every: int,
    ends: list[tuple[bool, int]],
    optimiser: str,
) -> None:
    """For any pack, with a member that diverges before or after, stopped or killed anywhere, once or several times."""
    grid = replace(grid, training=replace(grid.training, optimiser=optimiser))
    members = names if dies is None else [*names, diverging(RF, dies)]
    places = folders(tmp_path_factory.mktemp("cells"), len(members))
    undisturbed = Watched(places, every=STEPS + 1)
    run(setup, grid, members, undisturbed)
    assert [store.checkpoint_steps(folder) for folder in places] == [[]] * len(members)
    for stopped, step in ends:
        checkpointer = Watched(places, every, stops=[step] * stopped, kills=[step] * (not stopped))
        try:
            run(setup, grid, members, checkpointer)
        except (Stopped, Killed):
            kept = step if stopped else max(checkpointer.first, (step - 1) // every * every)
            assert max(checkpoint.common_steps(places), default=0) == kept
        else:
            assert checkpointer.first >= step
    last = Watched(places, every)
    run(setup, grid, members, last)
    assert everything(last) == everything(undisturbed)
    assert last.state.trainer.health.diverged_at()[len(names) :] == ([] if dies is None else [dies])


def test_a_pack_continues_from_the_newest_step_that_all_members_have(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the writes of two members, and again while it deletes the old ones."""
    real = atomic.write_tensors

    def dies(path: Path, *rest: Any) -> None:
        if path.parent == begun[1]:
            raise Killed
        real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_tensors", dies)
        with pytest.raises(Killed):
            run(setup, grid, [RF, EPS], Watched(begun))
    assert [store.checkpoint_steps(folder) for folder in begun] == [[6, 5, 3], [5, 3]]
    again = Watched(begun, stops=[7])
    with pytest.raises(Stopped, match="asked: stopped after step 7"):
        run(setup, grid, [RF, EPS], again)
    assert again.said == ["continuing at step 5"]
    assert [store.checkpoint_steps(folder) for folder in begun] == [[7, 6]] * 2
    last = Watched(begun)
    run(setup, grid, [RF, EPS], last)
    assert last.said == ["continuing at step 7"]
    assert everything(last) == whole


def test_a_cell_of_a_pack_can_continue_alone(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any]
) -> None:
    checkpointer = Watched(begun[1:], every=STEPS)
    run(setup, grid, [EPS], checkpointer)
    assert checkpointer.first == 5
    together = torch.frombuffer(bytearray(whole["weights"]), dtype=torch.float32).view(2, -1)[1]
    assert torch.allclose(checkpointer.state.trainer.flat.weights[0], together, rtol=1e-4, atol=1e-5)


def test_a_full_disk_stops_no_training(
    setup: Setup, grid: Grid, whole: dict[str, Any], tmp_path: Path
) -> None:
    """It is said, and the last whole checkpoint stays; once there is space they are written again."""
    with mounted(tmp_path / "disk", 16_000) as disk:
        places = folders(disk)
        checkpointer = Watched(places)
        real, spaces = checkpointer.guard, iter(range(STEPS))

        def guard() -> None:
            real()
            turn = next(spaces)
            if turn == 2:
                fill(disk, leave=300_000)
            elif turn == 5:
                (disk / "filler").unlink()

        checkpointer.guard = guard
        run(setup, grid, [RF, EPS], checkpointer)
        assert len(checkpointer.said) == 3
        for step, text in zip((3, 4, 5), checkpointer.said, strict=True):
            assert text.startswith(f"no checkpoint at step {step}, the last one is of step 2 ({places[0]}")
            assert text.endswith("No space left on device)")
        assert [store.checkpoint_steps(folder) for folder in places] == [[7, 6]] * 2
        assert not [p for folder in places for p in folder.iterdir() if p.name.startswith(".")]
        assert everything(checkpointer) == whole


def test_no_more_than_two_generations_are_kept_and_none_after_the_end(
    setup: Setup, grid: Grid, tmp_path: Path
) -> None:
    checkpointer, found = Watched(folders(tmp_path)), []
    checkpointer.guard = lambda: found.append(
        [store.checkpoint_steps(folder) for folder in folders(tmp_path)]
    )
    run(setup, grid, [RF, EPS], checkpointer)
    assert found == [[[]] * 2, [[1]] * 2, *([[step, step - 1]] * 2 for step in range(2, STEPS - 1))]
    for folder in folders(tmp_path):
        store.delete_checkpoints(folder)
    assert not [p for folder in folders(tmp_path) for p in folder.iterdir()]


def test_checkpoints_are_written_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds; after a slow one so late that writing takes 2 % of the time. Asked to stop: at once."""
    now, saved = [0.0], []

    class Slow(Checkpointer):
        def save(self, step: int, state: State) -> None:
            saved.append(step)
            now[0] += 0.1 if step < 50 else 1.0

    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    reasons: list[str | None] = [None]
    checkpointer = Slow((), 10.0, lambda: reasons[0])
    state: Any = None
    for step in range(1, 130):
        now[0] = max(now[0], float(step))
        checkpointer(step, state)
    assert saved == [10, 21, 32, 43, 54, 105]
    reasons[0] = "SIGTERM"
    with pytest.raises(Stopped, match="SIGTERM: stopped after step 130"):
        checkpointer(130, state)
    assert saved[-1] == 130
    assert checkpointer.elapsed() == pytest.approx(now[0])
