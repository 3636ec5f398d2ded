"""What a command hands to its workers comes back as it was written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.experiment import Evaluation, Grid
from bench.config.identity import full, restore
from bench.config.presets import PRESETS
from bench.config.sampling_settings import Setting
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Execution, Share, Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name: str) -> None:
    assert restore(Grid, full(PRESETS[name])) == PRESETS[name]


def test_a_changed_grid_survives_json(tiny: Grid) -> None:
    odd = replace(
        tiny,
        samplers=("cosmap",),
        seeds=3,
        evaluation=Evaluation(settings=(Setting(1, 0.0), Setting(5, 2.5))),
    )
    for grid in (tiny, odd):
        again = restore(Grid, full(grid))
        assert again == grid
        assert again.evaluation.id == grid.evaluation.id


def test_a_submission_comes_back_as_it_was_written(submit: Callable[..., Submission], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1")
    made = submit(
        shares=[Share(("a",), True), Share(("b", "c")), Share(())],
        plugins=[tmp_path / "mine.py"],
        pack=3,
        slots=2,
        checkpoint=12.5,
    )
    again = submissions.read(made.folder)
    assert again == made
    assert again.execution == Execution("local", "cpu", 3, "off", 12.5, 2)
    assert again.plugin_files == [made.code_folder / "plugins" / "0-mine.py"]
    assert (again.id, again.out) == (made.folder.name, tmp_path / "run")
    assert not again.cancelled
    (made.folder / "cancelled").touch()
    assert again.cancelled
    assert again.state_file(3) == made.folder / "share-0003.json"


def test_all_of_a_folder_oldest_first(submit: Callable[..., Submission], tmp_path: Path) -> None:
    assert submissions.all_of(tmp_path / "run") == []
    made = [submit(code="none") for _ in range(3)]
    assert len({m.id for m in made}) == 3
    (tmp_path / "run" / "submissions" / "nothing").mkdir()
    assert submissions.all_of(tmp_path / "run") == sorted(made, key=lambda m: m.id)


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", "\x00\x01", '{"grid": 1, "execution": {}, "shares": []}', '{"grid": {"x": 1}}']
)
def test_a_damaged_submission_is_named(damage: str, submit: Callable[..., Submission]) -> None:
    made = submit(code="none")
    (made.folder / "submission.json").write_text(damage)
    with pytest.raises(UserError, match=r"submission\.json .* delete"):
        submissions.read(made.folder)


def test_fields_of_another_version_are_named(submit: Callable[..., Submission]) -> None:
    made = submit(code="none")
    file = made.folder / "submission.json"
    for change in ({"later": 1}, {"execution": {"warp": 9}}):
        atomic.write_json(file, atomic.read_object(file) | change)
        with pytest.raises(UserError, match="is no submission of this version of flowbench"):
            submissions.read(made.folder)
