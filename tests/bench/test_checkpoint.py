"""Training that is interrupted, killed, or finds its checkpoints damaged ends as if nothing had happened, bit for bit."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import checkpoint, store
from bench.batches import Batches, validation_batch
from bench.checkpoint import Keeper, State, Stopped
from bench.config import Grid, Model
from bench.setup import Setup
from bench.train import train
from formulations import Formulation, get

from ..disks import fill, mounted

CPU = torch.device("cpu")
STEPS = 8
RF, EPS, EDM = get("rf/lognorm(0,1)"), get("eps/linear"), get("edm(-1.2,1.2)")


class Killed(BaseException):
    """Nothing is saved."""


class Watched(Keeper):
    """A keeper that saves after every ``every`` steps, is asked to stop or killed at given steps, and keeps the state."""

    def __init__(
        self, folders: Sequence[Path], every: int = 1, stops: Sequence[int] = (), kills: Sequence[int] = ()
    ):
        self.said: list[str] = []
        super().__init__(folders, math.inf, lambda: self.reason, say=self.said.append, pack=["a", "b"])
        self.every, self.stops, self.kills = every, stops, kills
        self.reason: str | None = None

    def load(self, state: State) -> int:
        self.state = state
        self.first = super().load(state)
        return self.first

    def __call__(self, step: int, state: State) -> None:
        if step in self.kills:
            raise Killed
        self.reason = "asked" if step in self.stops else None
        self.seconds = 0.0 if step % self.every == 0 else math.inf
        self.cost = 0.0
        super().__call__(step, state)


def diverging(formulation: Formulation, step: int) -> Formulation:
    """The formulation with a loss that is no number from a step on."""

    def weight(at: Any) -> torch.Tensor:
        weights = torch.ones_like(at.t)
        if at.t.ndim == 2:  # steps x samples
            weights[step:] = float("nan")
        return weights

    return replace(formulation, weight=weight, name=f"dies at {step}")


def run(
    setup: Setup, grid: Grid, members: Sequence[Formulation], keeper: Keeper, model: Model | None = None
) -> None:
    recipe = replace(grid.training, steps=STEPS, validations=3)
    train(
        members,
        setup.shape(model or grid.model, grid.images.resolution),
        recipe,
        Batches(setup.data, setup.captions, 0, recipe.batch, recipe.dropout, CPU),
        validation_batch(setup.data, setup.captions, recipe.validation_images, CPU),
        0,
        keeper=keeper,
    )


def everything(keeper: Watched) -> dict[str, Any]:
    """All that training has made, as bytes; and the lines of metrics without the only thing that may differ."""
    rows = {name: row.numpy().tobytes() for name, row in keeper.state.rows().items()}
    lines = [[{k: v for k, v in line.items() if k != "seconds"} for line in m] for m in keeper.state.lines]
    assert all(line["seconds"] > 0 for member in keeper.state.lines for line in member)
    return rows | {"lines": lines}


def folders(root: Path, count: int = 2) -> list[Path]:
    return [root / f"cell{i}" for i in range(count)]


@pytest.fixture(scope="module")
def whole(setup: Setup, grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What RF and EPS become in a training that nothing disturbs."""
    keeper = Watched(folders(tmp_path_factory.mktemp("whole")), every=STEPS + 1)
    run(setup, grid, [RF, EPS], keeper)
    return everything(keeper)


@pytest.fixture
def begun(setup: Setup, grid: Grid, tmp_path: Path) -> list[Path]:
    """Folders of RF and EPS, killed after 6 of their steps, with checkpoints of the 3rd and the 5th."""
    with pytest.raises(Killed):
        run(setup, grid, [RF, EPS], Watched(folders(tmp_path), every=1, kills=[4]))
    for folder in folders(tmp_path):
        store.checkpoint_file(folder, 2).unlink()
    again = Watched(folders(tmp_path), every=5, kills=[6])
    with pytest.raises(Killed):
        run(setup, grid, [RF, EPS], again)
    assert [store.checkpoint_steps(folder) for folder in folders(tmp_path)] == [[5, 3]] * 2
    return folders(tmp_path)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from([RF, EPS, EDM]), min_size=1, max_size=3, unique_by=lambda f: f.name),
    dies=st.none() | st.integers(0, STEPS - 1),
    every=st.integers(1, 4),
    ends=st.lists(st.tuples(st.booleans(), st.integers(1, STEPS - 1)), min_size=1, max_size=3),
)
def test_an_interrupted_training_is_the_uninterrupted_one(
    setup: Setup,
    grid: Grid,
    tmp_path_factory: pytest.TempPathFactory,
    names: list[Formulation],
    dies: int | None,
    every: int,
    ends: list[tuple[bool, int]],
) -> None:
    """For any pack, with a member that diverges before or after, stopped or killed anywhere, once or several times."""
    members = names if dies is None else [*names, diverging(RF, dies)]
    places = folders(tmp_path_factory.mktemp("cells"), len(members))
    undisturbed = Watched(places, every=STEPS + 1)
    run(setup, grid, members, undisturbed)
    assert [store.checkpoint_steps(folder) for folder in places] == [[]] * len(members)
    for stopped, step in ends:
        keeper = Watched(places, every, stops=[step] * stopped, kills=[step] * (not stopped))
        try:
            run(setup, grid, members, keeper)
        except (Stopped, Killed):
            kept = step if stopped else max(keeper.first, (step - 1) // every * every)
            assert max(checkpoint.common_steps(places), default=0) == kept
        else:
            assert keeper.first >= step
    last = Watched(places, every)
    run(setup, grid, members, last)
    assert everything(last) == everything(undisturbed)
    assert last.state.trainer.health.diverged_at()[len(names) :] == ([] if dies is None else [dies])


def test_a_pack_goes_on_from_the_newest_step_that_all_members_have(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the writes of two members, and again while it deletes the old ones."""
    real = store.write_tensors

    def dies(path: Path, *rest: Any) -> None:
        if path.parent == begun[1]:
            raise Killed
        real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_tensors", dies)
        with pytest.raises(Killed):
            run(setup, grid, [RF, EPS], Watched(begun))
    assert [store.checkpoint_steps(folder) for folder in begun] == [[6, 5, 3], [5, 3]]
    again = Watched(begun, stops=[7])
    with pytest.raises(Stopped, match="asked: stopped after step 7"):
        run(setup, grid, [RF, EPS], again)
    assert again.said == ["going on after step 5"]
    assert [store.checkpoint_steps(folder) for folder in begun] == [[7, 6]] * 2
    last = Watched(begun)
    run(setup, grid, [RF, EPS], last)
    assert last.said == ["going on after step 7"]
    assert everything(last) == whole


def cut(content: bytearray) -> bytearray:
    return content[: len(content) // 2]


def empty(content: bytearray) -> bytearray:
    return bytearray()


def header(content: bytearray) -> bytearray:
    content[8:200] = random.Random(0).randbytes(192)
    return content


def length(content: bytearray) -> bytearray:
    content[:8] = b"\xff" * 8
    return content


def bit(content: bytearray) -> bytearray:
    content[-1] ^= 1
    return content


def told(content: bytearray) -> bytearray:
    at = content.index(b"train_loss") + 16
    content[at] = ord("1") if content[at] != ord("1") else ord("2")
    return content


DAMAGES = [cut, empty, header, length, bit, told]


@pytest.mark.parametrize("member", [0, 1])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    damage: Callable[[bytearray], bytearray],
    member: int,
    setup: Setup,
    grid: Grid,
    begun: list[Path],
    whole: dict[str, Any],
) -> None:
    file = store.checkpoint_file(begun[member], 5)
    file.write_bytes(damage(bytearray(file.read_bytes())))
    keeper = Watched(begun, every=STEPS)
    run(setup, grid, [RF, EPS], keeper)
    assert keeper.said[0].startswith(f"the checkpoint of step 5 is not used: {file} cannot be read")
    assert keeper.said[1:] == ["going on after step 3"]
    assert everything(keeper) == whole


def test_a_checkpoint_under_another_step_s_name_is_not_used(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any]
) -> None:
    for folder in begun:
        store.checkpoint_file(folder, 5).rename(store.checkpoint_file(folder, 6))
    keeper = Watched(begun, every=STEPS)
    run(setup, grid, [RF, EPS], keeper)
    assert keeper.said == [
        "the checkpoint of step 6 is not used: it is of another step",
        "going on after step 3",
    ]
    assert everything(keeper) == whole


def test_with_both_generations_damaged_it_begins_anew_and_its_new_checkpoints_are_kept(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any]
) -> None:
    """Those of the old training are of later steps, and must not be taken for the newest."""
    for file in begun[1].glob("checkpoint-*"):
        file.write_bytes(file.read_bytes()[:-1])
    keeper = Watched(begun, kills=[3])
    with pytest.raises(Killed):
        run(setup, grid, [RF, EPS], keeper)
    assert [text.partition(" is not used")[0] for text in keeper.said] == [
        "the checkpoint of step 5",
        "the checkpoint of step 3",
    ]
    assert keeper.first == 0
    assert [store.checkpoint_steps(folder) for folder in begun] == [[2, 1]] * 2
    last = Watched(begun)
    run(setup, grid, [RF, EPS], last)
    assert last.said == ["going on after step 2"]
    assert everything(last) == whole


def test_another_model_s_checkpoint_is_not_used(setup: Setup, grid: Grid, begun: list[Path]) -> None:
    keeper = Watched(begun, every=STEPS)
    run(setup, grid, [RF, EPS], keeper, replace(grid.model, width=64))
    assert [text.partition(": ")[2] for text in keeper.said] == ["it is of another model"] * 2
    assert keeper.first == 0


def test_a_cell_of_a_pack_can_go_on_alone(
    setup: Setup, grid: Grid, begun: list[Path], whole: dict[str, Any]
) -> None:
    keeper = Watched(begun[1:], every=STEPS)
    run(setup, grid, [EPS], keeper)
    assert keeper.first == 5
    together = torch.frombuffer(bytearray(whole["weights"]), dtype=torch.float32).view(2, -1)[1]
    assert torch.allclose(keeper.state.trainer.flat.weights[0], together, rtol=1e-4, atol=1e-5)


def test_a_full_disk_stops_no_training(
    setup: Setup, grid: Grid, whole: dict[str, Any], tmp_path: Path
) -> None:
    """It is said, and the last whole checkpoint stays; once there is space they are written again."""
    with mounted(tmp_path / "disk", 16_000) as disk:
        places = folders(disk)
        keeper = Watched(places)
        real, spaces = keeper.guard, iter(range(STEPS))

        def guard() -> None:
            real()
            turn = next(spaces)
            if turn == 2:
                fill(disk, leave=300_000)
            elif turn == 5:
                (disk / "filler").unlink()

        keeper.guard = guard
        run(setup, grid, [RF, EPS], keeper)
        assert len(keeper.said) == 3
        for step, text in zip((3, 4, 5), keeper.said, strict=True):
            assert text.startswith(f"no checkpoint at step {step}, the last one is of step 2 ({places[0]}")
            assert text.endswith("No space left on device)")
        assert [store.checkpoint_steps(folder) for folder in places] == [[7, 6]] * 2
        assert not [p for folder in places for p in folder.iterdir() if p.name.startswith(".")]
        assert everything(keeper) == whole


def test_no_more_than_two_generations_are_kept_and_none_after_the_end(
    setup: Setup, grid: Grid, tmp_path: Path
) -> None:
    keeper, found = Watched(folders(tmp_path)), []
    keeper.guard = lambda: found.append([store.checkpoint_steps(folder) for folder in folders(tmp_path)])
    run(setup, grid, [RF, EPS], keeper)
    assert found == [[[]] * 2, [[1]] * 2, *([[step, step - 1]] * 2 for step in range(2, STEPS - 1))]
    for folder in folders(tmp_path):
        checkpoint.clear(folder)
    assert not [p for folder in folders(tmp_path) for p in folder.iterdir()]


def test_checkpoints_are_written_when_it_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ten seconds; after a slow one so late that writing takes 2 % of the time. Asked to stop: at once."""
    now, saved = [0.0], []

    class Slow(Keeper):
        def save(self, step: int, state: State) -> None:
            saved.append(step)
            now[0] += 0.1 if step < 50 else 1.0

    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    reasons: list[str | None] = [None]
    keeper = Slow((), 10.0, lambda: reasons[0])
    state: Any = None
    for step in range(1, 130):
        now[0] = max(now[0], float(step))
        keeper(step, state)
    assert saved == [10, 21, 32, 43, 54, 105]
    reasons[0] = "SIGTERM"
    with pytest.raises(Stopped, match="SIGTERM: stopped after step 130"):
        keeper(130, state)
    assert saved[-1] == 130
    assert keeper.elapsed() == pytest.approx(now[0])


@settings(max_examples=150)
@given(place=st.integers(0, 10**6), flip=st.integers(1, 255))
def test_no_changed_byte_of_a_file_of_tensors_goes_unnoticed(
    place: int, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    file = folder / "whole.safetensors"
    if not file.exists():
        folder.mkdir()
        tensors = {"a": torch.arange(6.0), "b": torch.tensor(True), "c": torch.tensor([1, 2])}
        store.write_tensors(file, tensors, {"step": 3, "seconds": 1.5, "lines": [{"x": None}], "pack": ["a"]})
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= flip
    changed = folder / "changed.safetensors"
    changed.write_bytes(content)
    try:
        tensors, about = store.read_tensors(changed)
    except store.Damaged:
        return
    again, same = store.read_tensors(file)
    assert about == same
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensors[name], again[name]) for name in again)
