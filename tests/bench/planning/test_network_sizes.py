"""Several networks in one grid: of one size, or equal in parameters or operations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.config.experiment import Grid, Images, Model
from bench.config.presets import preset
from bench.models.architecture import registry
from bench.planning import network_sizes, plan
from bench.planning.cells import cells_of
from bench.planning.network_sizes import models_of
from bench.planning.requirements import by_cell
from flowbench._core.errors import UserError

NETWORKS = ("mmdit", "dit", "crossdit", "uvit", "uvit_bao", "prx")
SMALL = Grid(("rf",), model=Model(depth=5, width=192, heads=3), networks=NETWORKS, images=Images(32))


def test_networks_are_crossed_with_all_the_rest_and_each_is_a_cell_of_its_own() -> None:
    grid = replace(SMALL, seeds=2, model=Model(depth=3))
    cells = cells_of(grid)
    assert [(c.seed, c.model.architecture) for c in cells] == [(s, n) for s in (0, 1) for n in NETWORKS]
    assert len({c.id for c in cells}) == 12
    alone = replace(grid, networks=(), model=Model(depth=3, architecture="dit"))
    assert cells_of(alone)[0].id == cells[1].id


def test_two_spellings_of_a_network_are_one() -> None:
    assert len(models_of(replace(SMALL, networks=("dit", "dit:qk=rms", "mmdit")))) == 2
    once = Grid(("rf",), networks=("dit",))
    assert once == Grid(("rf",), model=Model(architecture="dit"))


@pytest.mark.parametrize("equal", ["parameters", "flops"])
def test_equal_networks_have_nearly_the_count_of_the_first(equal: str) -> None:
    grid = replace(SMALL, equal=equal)
    look, models = by_cell(grid), models_of(grid)
    assert models[0] == SMALL.model, "the first keeps its size"
    shapes = [look(cell).shape for cell in cells_of(grid)]
    goal = network_sizes.COUNTS[equal](shapes[0])
    for shape in shapes:
        assert abs(network_sizes.COUNTS[equal](shape) / goal - 1) < 0.05
        assert shape.width % (4 * shape.heads) == 0
        shape.kind.check(shape)
        assert 64 / 1.6 <= shape.width / shape.heads <= 64 * 1.6
    assert len({shape.width for shape in shapes}) > 3


def test_no_other_width_is_nearer() -> None:
    grid = replace(SMALL, networks=("mmdit", "dit"), equal="parameters")
    shapes = [by_cell(grid)(cell).shape for cell in cells_of(grid)]
    goal = shapes[0].parameters()
    for step in (-1, 1):
        other = replace(shapes[1], width=shapes[1].width + step * 4 * shapes[1].heads)
        assert abs(other.parameters() - goal) > abs(shapes[1].parameters() - goal)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"networks": (), "equal": "flops"}, "--equal flops is for several networks"),
        (
            {"networks": ("mmdit", "mmdit:sets=3")},
            "--text tinyclip gives one: choose an encoder that joins CLIP",
        ),
        ({"equal": "size "}, "choose from 'size', 'parameters', 'flops'"),
        ({"networks": ("mmdit", "ditt")}, "no model is called 'ditt'; did you mean 'dit'"),
        ({"networks": ("mmdit", "uvit_bao"), "depths": (4,)}, "needs an odd depth"),
        ({"networks": ("mmdit", "uvit_bao"), "depths": (4,), "equal": "flops"}, "needs an odd depth"),
        ({"networks": ("uvit_bao", "mmdit"), "depths": (4,), "equal": "flops"}, "needs an odd depth"),
        ({"depths": (3, 5)}, "--networks and --depths: .* choose one --depth, or one --model"),
        ({"budgets": (8, 9)}, "--networks and --budgets: .* choose one --steps, or one --model"),
        (
            {
                "datasets": ("shapes", "digits"),
                "equal": "parameters",
                "model": Model(depth=3, width=64, heads=1, patch=16),
                "networks": ("mmdit", "dit"),
            },
            "run the datasets one by one",
        ),
    ],
)
def test_mistakes_are_one_sentence(change: dict[str, object], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        plan.make(replace(SMALL, **change), tmp_path)


@pytest.mark.parametrize("equal", ["size", "parameters", "flops"])
def test_the_preset_has_every_network_of_this_repository(equal: str) -> None:
    grid = replace(preset("architectures"), equal=equal)
    assert [model.architecture for model in models_of(grid)] == list(grid.networks)
    assert set(grid.networks) == {n for n in registry.entries if "/" not in n}


def test_a_network_that_comes_nowhere_near_is_refused() -> None:
    tiny = replace(SMALL, model=Model(depth=3, width=32, heads=1, patch=8), equal="flops")
    with pytest.raises(UserError, match=r"uvit has no width .* take a larger --width"):
        models_of(tiny)
