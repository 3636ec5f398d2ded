"""``python -m formulations``, the conformance check, and the docs page, all of whose code runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import pytest
import torch

import formulations
from flowbench._core.errors import UserError
from flowbench._core.registry import KINDS
from formulations import Formulation, check, colours, get, names, plot, register
from formulations.__main__ import main
from formulations.targets import noise, velocity
from samplers import Sampler

README = Path(formulations.__file__).parent / "README.md"


@pytest.mark.parametrize("name", names("all"))
def test_everything_listed_conforms(name: str) -> None:
    assert len(check(get(name))) == 6


def straight(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return 1 - t, t


def raises(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    raise RuntimeError("inside my path")


BROKEN: dict[str, tuple[Callable[[], Formulation], str]] = {
    "one tensor": (lambda: Formulation(lambda t: t, velocity), "path returned Tensor; expected two tensors"),
    "three tensors": (lambda: Formulation(lambda t: (t, t, t), velocity), "path returned 3 values"),
    "shape": (
        lambda: Formulation(lambda t: (1 - t, t[..., None]), velocity),
        r"path returned shape \[.*1\] for t",
    ),
    "weight shape": (
        lambda: Formulation(straight, velocity, weight=lambda at: at.t.mean()),
        r"weight returned shape \[\]",
    ),
    "weight type": (lambda: Formulation(straight, velocity, weight=lambda at: "1"), "weight returned str"),
    "negative": (lambda: Formulation(straight, velocity, weight=lambda at: -at.a), "w is negative at t ="),
    "nan": (
        lambda: Formulation(straight, velocity, weight=lambda at: (at.a - 0.5).sqrt()),
        "weight is not finite|w is not",
    ),
    "reversed": (lambda: Formulation(lambda t: (t, 1 - t), velocity), "clock .* must rise"),
    "scaled": (
        lambda: Formulation(lambda t: ((1 - t) / 2, t), velocity),
        "must begin at the data, a = 1 and b = 0 at t = 0; there a = 0.5",
    ),
    "noisy": (lambda: Formulation(lambda t: (1 - t, 0.2 + t), velocity), "must begin at the data"),
    "det": (lambda: Formulation(straight, lambda at: (at.a, at.b)), "cannot be decoded|no time whose clock"),
    "batch": (
        lambda: Formulation(straight, velocity, weight=lambda at: at.a / at.a.sum()),
        "w depends on the shape of t",
    ),
    "raises": (
        lambda: Formulation(raises, velocity),
        r"test_formulations_command.py, line \d+\): RuntimeError: inside",
    ),
    "not monotone": (
        lambda: Formulation(straight, velocity, Sampler(lambda u: 4 * u * (1 - u))),
        "not monotone in u",
    ),
    "outside": (lambda: Formulation(straight, velocity, Sampler(lambda u: 2 * u)), r"leaves \[0, 1\]"),
    "random": (
        lambda: Formulation(straight, velocity, Sampler(lambda u: u * torch.rand(()).item())),
        "different times",
    ),
    "sampler shape": (
        lambda: Formulation(straight, velocity, Sampler(lambda u: u[:2])),
        r"sampler returned shape \[2\]",
    ),
    "grid": (
        lambda: Formulation(straight, velocity, schedule=lambda f, steps: torch.linspace(0.1, 1, steps)),
        "native sampling grid is not 50 descending times",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_check_finds_what_is_broken(case: str) -> None:
    register("broken")(BROKEN[case][0])
    with pytest.raises(UserError, match=BROKEN[case][1]) as caught:
        check(get("broken"))
    assert "'broken'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_may_stand_for_constant_tensors() -> None:
    register("constant")(
        lambda: Formulation(lambda t: (1.0, t / (1 - t)), lambda at: (0, 1), weight=lambda at: 2)
    )
    assert len(check(get("constant"))) == 6
    assert get("constant").coeffs(torch.tensor([0.5])).w.tolist() == [2.0]


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(args)
    out, err = capsys.readouterr()
    return code, out, err


def test_it_shows_formula_coefficients_and_budget(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "rf/lognorm(0,1)", "edm")
    assert code == 0
    assert "rf/lognorm(0.00,1.00)\n" in out
    assert "a = 1 - t, b = t" in out
    assert "t = sigmoid(m + s N^-1(u))" in out
    assert re.search(r"0\.5 +0\.5 +0\.5 +0\.5 +0\.5 +-1 +1 +1 +0\.5 +1\n", out)
    assert "data to noise:  8%  26%  31%  26%  8%" in out
    assert "data to noise:  36%  25%  19%  14%  4%" in out


def test_it_gives_an_overview_and_lists(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys)
    assert code == 0
    assert re.search(r"paper +61", out)
    assert re.search(r"published +17", out)
    assert run(capsys, "list", "paper")[1].split() == names("paper")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["rf/lognrm(0,1)"], "did you mean 'lognorm'"),
        (["--plot", "a.png"], "--plot needs at least one formulation"),
        (["rf", "--plot", "a.gif"], "must end in .png or .svg"),
        (["rf", "--plot", "/nowhere/at/all.png"], "no folder '/nowhere/at'"),
        (["rf", "--plugin", "none.py"], "'none.py' is not a file"),
        (["check", "none.py"], "is not a file"),
        (["check", "rf/mode(9)"], "[-1, 1.75194]"),
        (["list", "papers"], "did you mean 'paper'"),
    ],
)
def test_a_mistake_exits_with_2_and_one_sentence(
    capsys: pytest.CaptureFixture[str], args: list[str], says: str
) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert says in err


def test_check_of_a_file_checks_all_that_it_registers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import formulations as f, samplers as s\n"
        "f.register('good')(lambda: f.Formulation(lambda t: (1 - t, t), f.targets.velocity))\n"
        "s.register('half')(lambda: s.Sampler(lambda u: u / 2))\n"
    )
    code, out, _ = run(capsys, "check", str(file))
    assert code == 0
    assert "good: ok" in out
    assert "rf/half: ok" in out
    needs = tmp_path / "needs.py"
    needs.write_text("import formulations as f\nf.register('needs(k)')(lambda k: None)\n")
    assert "lacks a value for k" in run(capsys, "check", str(needs))[2]
    assert (
        "returned NoneType, not a Formulation" in run(capsys, "check", "needs(1)", "--plugin", str(needs))[2]
    )
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert "registers no formulation" in run(capsys, "check", str(empty))[2]


def test_pictures_are_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("a.png", "b.svg"):
        code, out, _ = run(
            capsys, "rf", "rf/curriculum(cosmap,.5)", "eps/linear", "--plot", str(tmp_path / name)
        )
        assert code == 0
        assert f"wrote {tmp_path / name}" in out
    picture = matplotlib.image.imread(tmp_path / "a.png")
    assert picture.shape[0] > 300
    assert picture.std() > 0.05  # something is drawn
    assert "<svg" in (tmp_path / "b.svg").read_text()


@pytest.mark.parametrize("others", [(), ("rf", "eps/linear"), tuple(names("published"))])
def test_a_colour_does_not_depend_on_what_else_is_drawn(others: tuple[str, ...]) -> None:
    chosen = list(dict.fromkeys(["edm(-1.20,1.20)", *others]))
    figure = plot.draw([get(name) for name in chosen])
    for panel in figure.axes:
        drawn = {str(line.get_label()): line for line in panel.get_lines()}
        assert [drawn[name].get_color() for name in chosen] == [colours.colour(name) for name in chosen]


def test_help_is_quick_and_needs_no_torch() -> None:
    code = (
        "import runpy, sys, time\nsys.argv = ['formulations', '--help']\n"
        "try: runpy.run_module('formulations', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules and 'scipy' not in sys.modules\n"
        "assert time.process_time() < 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "check my.py" in done.stdout


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_docs_page_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *rest = blocks("python")
    Path("my.py").write_text(first)
    for line in blocks("sh")[0].splitlines():
        words = shlex.split(line)
        assert words[:3] == ["python", "-m", "formulations"]
        code, out, err = run(capsys, *words[3:])
        assert (code, err) == (0, "")
        assert "my/late(" in out
    assert Path("late.svg").exists()
    scope: dict[str, object] = {"register": register, "Formulation": Formulation}
    for block in rest:
        exec(block, scope)
    assert get("my/truncated").coeffs(torch.tensor([0.9])).w.item() > 1
    assert isinstance(scope["x_next"], torch.Tensor)
    assert scope["x_next"].shape == (64, 3, 8, 8)
    assert set(tomllib.loads(blocks("toml")[0])["project"]["entry-points"]) == {
        registry.group for registry in (KINDS["formulation"], KINDS["sampler"])
    }


def test_the_docs_page_names_everything() -> None:
    from formulations.paths import PATHS
    from formulations.targets import TARGETS
    from formulations.weights import WEIGHTS
    from samplers.sampler_registry import registry

    text = README.read_text()
    for word in (*PATHS, *TARGETS, *registry.entries):
        assert re.search(rf"`{re.escape(word)}[`(]", text), word
    for word in WEIGHTS:
        assert f"`+{word}" in text


def test_noise_target_needs_a_start_inside() -> None:
    f = Formulation(straight, noise)
    assert f.start == pytest.approx(80 / 81)
