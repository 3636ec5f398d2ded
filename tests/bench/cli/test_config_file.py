"""``--config FILE``: what a file reaches, what has precedence over it, and that a run's own file repeats its plan."""

from __future__ import annotations

import shlex
import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench import compare
from bench.cli import config_file
from bench.cli.fields import GROUPS
from bench.cli.parser import parse
from bench.config.experiment import Grid
from bench.config.identity import full
from bench.config.presets import PRESETS
from bench.driver import plan_files
from bench.planning import plan
from bench.planning.cells import cells_of
from bench.planning.plan import Chosen, Plan, Planned
from flowbench._core.errors import UserError
from formulations import load_plugin

from ..conftest import TINY
from .test_cli import EVERYTHING

NOWHERE = Path("/nonexistent")
PLUGIN = """
from formulations import Formulation, register
from formulations.targets import velocity

@register("mine/late(k)")
def late(k: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity, sampler="lognorm(0,1)")
"""
COMMANDS = [
    *(f"--preset {name}" for name in PRESETS),
    "--preset smoke --seeds 3 --first-seed 7 --formulations 'v/*' rf 'u/poly(2)' --samplers 'lognorm(0,1)' cosmap",
    "--preset paper --formulations headline --depths 2 5 --heads 2 --budgets 30 40 --seeds 2",
    "--preset published --formulations 'rf/*' --depth 3 --width 96 --heads 6 --settings 7:2.25:ddim:clock 5:1",
    "--preset quick --formulations 'edm(*,0.6)' --width auto --heads 1 --depth 2 --lr 1e-7 --start 12.5 --betas 0.8 0.95",
    "--preset scaling --formulations v/cos --depth 1 --weights raw ema --gradients clip:0.5 --decay 1e-3",
    "--preset quick --formulations rf --depths 5 10 --heads 5 --width auto",
]


def planned(grid: Grid) -> Plan:
    """The plan of a grid whose paths need not be there."""
    cells = tuple(Planned(cell, NOWHERE / cell.id, "missing") for cell in cells_of(grid))
    return Plan(grid, NOWHERE, cells)


def written(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return str(folder / "mine.toml")


def ids(grid: Grid) -> list[str]:
    return [*(cell.id for cell in cells_of(grid)), grid.evaluation.id]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_runs_file_plans_the_same_cells(command: str, tmp_path: Path) -> None:
    """Whatever the preset that it is read over."""
    seeds = [] if "--seeds" in command else ["--seeds", "1"]
    grid = parse([*shlex.split(command), *seeds]).grid
    file = written(tmp_path, config_file.text(planned(grid), []))
    for base in ([], *(["--preset", name] for name in PRESETS)):
        found = parse(["--config", file, *base, "--out", str(tmp_path / "y")])
        assert ids(found.grid) == ids(grid)
        assert found.minutes is None, "its seeds are a number"


def test_a_dataset_of_pictures_keeps_its_path(tmp_path: Path) -> None:
    folder = tmp_path / 'my "pictures", é\\'
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    (folder / "a.txt").write_text("a picture")
    grid = parse(["--preset", "smoke", "--datasets", "digits,shapes", f"images:{folder}"]).grid
    made = plan.make(grid, tmp_path / "x")
    again = plan.make(parse(["--config", written(tmp_path, config_file.text(made, []))]).grid, tmp_path / "y")
    assert [p.cell.id for p in again.cells] == [p.cell.id for p in made.cells]
    assert again.grid.datasets == ("digits", "shapes", f"images:{folder}")


def test_its_paths_are_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And from the same one they are spelt as they were, so that its cells are the same."""
    for name in ("there/pictures", "there/more", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
        (tmp_path / name / "a.txt").write_text("a picture")
    monkeypatch.chdir(tmp_path / "there")
    for name in ("my.py", "my.safetensors"):
        Path(name).touch()
    options = ["--plugin", "my.py", "--datasets", "images:pictures", "--text", "tinyclip:my.safetensors"]
    more = ["--extractor", "clip:openai/clip", "--stage", "dataset=images:more,steps=3"]
    made = parse(["--preset", "smoke", *options, *more])
    argv = ["--config", written(tmp_path, config_file.text(planned(made.grid), made.plugins)), "--out", "x"]
    again = parse(argv)
    assert (ids(again.grid), again.plugins) == (ids(made.grid), made.plugins)
    monkeypatch.chdir(tmp_path / "elsewhere")
    there, found = tmp_path / "there", parse([*argv, "--plugin", "../there/my.py"])
    assert [file.resolve() for file in found.plugins] == [there / "my.py"]
    assert found.grid.datasets == (f"images:{there / 'more'}",)
    assert found.grid.earlier[0].dataset == f"images:{there / 'pictures'}"
    assert (found.grid.text, found.grid.evaluation.extractor) == (
        f"tinyclip:{there / 'my.safetensors'}",
        "clip:openai/clip",
    )
    plan.make(found.grid, tmp_path / "x")


def test_every_field_of_an_experiment_is_in_the_file(tmp_path: Path) -> None:
    grid = parse(EVERYTHING.split()).grid
    text = config_file.text(planned(grid), [])
    assert parse(["--config", written(tmp_path, text)]).grid == replace(
        grid, formulations=("rf/cosmap",), samplers=()
    )
    options = {o.name for _, _, group in GROUPS for o in group}
    assert options - tomllib.loads(text).keys() == {"samplers", "networks", "depths", "budgets"}, (
        "nothing is swept or crossed"
    )


def test_every_field_has_an_option() -> None:
    """But the parts of a grid, the metrics, which plugins add, and earlier stages, which ``--stage`` makes."""
    parts = {None: Grid, **{name: hint for name, hint in get_type_hints(Grid).items() if is_dataclass(hint)}}
    for part, kind in parts.items():
        there = {o.target for _, of, group in GROUPS for o in group if of == part}
        assert there == {f.name for f in fields(kind)} - parts.keys() - {"metrics", "earlier"}, part


def test_every_option_can_be_written_by_its_name(tmp_path: Path) -> None:
    """A file with the words of a command line means the same."""
    words: dict[str, list[str]] = {}
    for word in EVERYTHING.split():
        if word.startswith("--"):
            words[word[2:]] = []
        else:
            words[next(reversed(words))].append(word)
    lines = [config_file.line(key, value if len(value) > 1 else value[0]) for key, value in words.items()]
    assert parse(["--config", written(tmp_path, "".join(lines))]).grid == parse(EVERYTHING.split()).grid


@given(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=20),
        st.lists(st.integers(0, 9)),
    )
)
def test_what_is_written_is_read(value: Any) -> None:
    assert tomllib.loads(config_file.line("a-key", value)) == {"a-key": value}


def test_the_command_line_has_precedence(tmp_path: Path) -> None:
    file = written(
        tmp_path, 'preset = "scaling"\nsteps = 7\ndepths = [2, 3]\nsamples = 9\ndatasets = "digits"\n'
    )
    found = parse(["--config", file])
    assert found.out.name == "scaling"
    assert (found.grid.training.steps, found.grid.budgets, found.grid.depths) == (7, (), (2, 3))
    assert (found.grid.evaluation.samples, found.grid.datasets) == (9, ("digits",))
    found = parse(["--config", file, "--budgets", "4", "5", "--depth", "1", "--samples", "8"])
    assert (found.grid.budgets, found.grid.depths, found.grid.model.depth) == ((4, 5), (), 1)
    assert found.grid.evaluation.samples == 8
    assert (
        parse(["--config", file, "--preset", "smoke"]).grid.training.batch == PRESETS["smoke"].training.batch
    )


def test_seeds_in_a_file_are_a_number_of_seeds(tmp_path: Path) -> None:
    found = parse(["--config", written(tmp_path, "seeds = 2")])
    assert (found.grid.seeds, found.minutes) == (2, None)


def test_plugins_of_file_and_command_line_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "b.py", "c.py"):
        Path(name).touch()
    found = parse(["--config", written(tmp_path, 'plugin = ["a.py", "b.py"]'), "--plugin", "b.py", "c.py"])
    assert found.plugins == (Path("a.py"), Path("b.py"), Path("c.py"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stepz = 3", "unknown key 'stepz': did you mean 'steps'"),
        ("first_seed = 3", "unknown key 'first_seed': did you mean 'first-seed'"),
        ("pack = 1", "unknown key 'pack'"),
        ("[training]\nsteps = 3", "[training] is a table"),
        ("steps 3", "is not TOML: Expected '='"),
        ('steps = "many"', "argument --steps: 'many' is not a whole number"),
        ("steps = 3.5", "argument --steps: '3.5' is not a whole number"),
        ("steps = true", "argument --steps: 'true' is not a whole number"),
        ("steps = [3, 4]", "argument --steps: '[3, 4]' is not a whole number"),
        ("lr = 2026-11-29", "is not a number"),
        ("budgets = [[3]]", "argument --budgets: '[3]' is not a whole number"),
        ("heads = 'few'", "argument --heads: 'few' is not 'auto' or a whole number"),
        ("settings = ['50']", "argument --settings: '50' is not STEPS:CFG"),
        ("weights = []", "argument --weights: expected at least one argument"),
        ("steps = -3", "--steps -3"),
        ("depth = 1\ndepths = [1, 2]", "--depths and --depth: choose one"),
        ('preset = "quik"', "unknown preset 'quik': did you mean 'quick'"),
    ],
)
def test_mistakes(text: str, words: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UserError) as error:
        parse(["--config", file])
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_reference_starts_from_the_directory_and_the_word_for_none_is_no_path(tmp_path: Path) -> None:
    for name in ("adm.npz", "validation"):
        (tmp_path / name).touch()
    assert config_file.placed("reference", "adm.npz", tmp_path) == str(tmp_path / "adm.npz")
    assert config_file.placed("reference", "validation", tmp_path) == "validation"


def test_each_path_of_a_spec_starts_from_the_directory(tmp_path: Path) -> None:
    for name in ("latents", "vae", "clip", "64", "a,b"):
        (tmp_path / name).mkdir()
    for value, found in (
        ("encoded:latents,autoencoder=vae", f"encoded:{tmp_path}/latents,autoencoder={tmp_path}/vae"),
        ("encoded:/latents,autoencoder=vae", f"encoded:/latents,autoencoder={tmp_path}/vae"),
        ("sd3:clip_l=clip,t5=org/name,length=64", f"sd3:clip_l={tmp_path}/clip,t5=org/name,length=64"),
        ("images:a,b", f"images:{tmp_path}/a,b"),
        ("shapes", "shapes"),
    ):
        assert config_file.placed("datasets", value, tmp_path) == found


def test_a_time_grid_starts_from_the_directory(tmp_path: Path) -> None:
    for name in ("mine.txt", "euler"):
        (tmp_path / name).touch()
    found = config_file.placed("settings", ["5:5", "2:5:euler:mine.txt:guide=0.1-0.7"], tmp_path)
    assert found == ["5:5", f"2:5:euler:{tmp_path}/mine.txt:guide=0.1-0.7"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "no.toml"):
        with pytest.raises(UserError, match=f"--config {file}: (Is a directory|No such file)"):
            parse(["--config", str(file)])
    (tmp_path / "noise.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"noise\.toml is not TOML"):
        parse(["--config", str(tmp_path / "noise.toml")])


def test_it_lies_in_the_run_folder_and_is_not_the_confirmations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.py").touch()
    made = plan.make(replace(TINY, seeds=2), tmp_path)
    plan_files.write(made, [], plugins=[Path("my.py")])
    kept = (tmp_path / "config.toml").read_text()
    assert tomllib.loads(kept)["plugin"] == ["my.py"]
    assert ids(parse(["--config", str(tmp_path / "config.toml")]).grid) == ids(made.grid)
    fresh = plan.make(replace(TINY, seeds=2, first_seed=1000), tmp_path)
    plan_files.write(replace(fresh, chosen=Chosen("so", (0, 1), ("rf",))), [])
    assert (tmp_path / "config.toml").read_text() == kept


def test_a_comparison_takes_its_formulations_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(PLUGIN)
    found = compare.parse(["rf", f"{tmp_path / 'my.py'}:late(3)", "--preset", "smoke", "--seeds", "2"])
    file = written(tmp_path, config_file.text(planned(found.grid), found.plugins))
    again = compare.parse(["--config", file])
    assert (again.grid, again.plugins, again.against) == (found.grid, found.plugins, found.against)
    assert full(found.grid)["formulations"] == ["rf", "mine/late(3.00)"]
    named = compare.parse(["v/cos", "--config", file, "--seeds", "5", "rf"])
    assert (named.grid.formulations, named.grid.seeds) == (("v/cos", "rf"), 5)
    load_plugin(tmp_path / "my.py")
    assert ids(parse(["--config", file]).grid) == ids(found.grid)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('samplers = ["uniform"]', "unknown key 'samplers'"),
        ('networks = ["mmdit", "dit"]', "a comparison is for one network, depth and number of steps"),
        ("depths = [2, 3]", "a comparison is for one network, depth and number of steps"),
        ("budgets = [2, 3]", "a comparison is for one network, depth and number of steps"),
    ],
)
def test_a_comparison_refuses_what_it_does_not_have(line: str, words: str, tmp_path: Path) -> None:
    argv = ["rf", "v/cos", "--config", written(tmp_path, f'preset = "quick"\n{line}')]
    with pytest.raises(UserError, match=words):
        compare.parse(argv)


def test_a_comparison_chooses_one_of_a_files_networks(tmp_path: Path) -> None:
    argv = ["rf", "v/cos", "--config", written(tmp_path, 'networks = ["mmdit", "uvit"]'), "--model", "dit"]
    (model,) = compare.parse(argv).grid.models
    assert model.architecture == "dit"


def test_networks_of_equal_counts_are_left_by_a_comparison_of_one(tmp_path: Path) -> None:
    file = written(tmp_path, 'networks = ["mmdit", "dit"]\nequal = "flops"')
    argv = ["rf", "v/cos", "--config", file, "--model", "dit"]
    with pytest.raises(UserError, match=r"--equal flops is for several networks: .*or give --equal size"):
        compare.parse(argv)
    assert compare.parse([*argv, "--equal", "size"]).grid.equal == "size"


def test_a_comparison_of_nothing() -> None:
    with pytest.raises(UserError, match="name the formulations to compare"):
        compare.parse([])
