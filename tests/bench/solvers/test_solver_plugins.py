"""Solvers of plugins: what their check finds, and the one of docs/plugins.md through a grid, its ranking and its report."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowbench
from bench import grid, plugins, solvers
from bench.config.sampling_settings import parse
from flowbench._core.errors import UserError
from flowbench._core.registry import KINDS

from ..runs import SMALL, written

PAGE = Path(flowbench.ROOT) / "docs" / "plugins.md"
EULER = """
import torch
from bench.solvers import Steps, register

@register("mine", order=1)
def mine(f, times):
    at, h = f.point(times), torch.cat([times, times.new_zeros(1)]).diff()
    image, noise = at.a + h * at.da, at.b + h * at.db
    return Steps(times, image[:, None], noise[:, None])
"""
"""Euler's method in the path's own time."""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Solvers of plugins are there neither from other tests nor after these."""
    before = dict(solvers.registry.entries)
    for name in solvers.texts(before):
        del solvers.registry.entries[name]
    yield
    solvers.registry.entries.clear()
    solvers.registry.entries.update(before)


def of_the_page() -> str:
    """The plugin in the section about solvers."""
    section = PAGE.read_text(encoding="utf-8").partition("## Add a solver")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


SHIPPED = ("euler", "ddim", "heun", "ab2", "dpm++2m", "unipc2", "ancestral", "dpm++2m_sde")


@pytest.mark.parametrize("name", SHIPPED)
def test_our_solvers_pass_their_check(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins.main(["check", "solver", name]) == 0
    assert (
        f"order {2 if name in ('heun', 'ab2', 'dpm++2m', 'unipc2') else 1} on v/cos"
        in capsys.readouterr().out
    )
    assert name in KINDS["solver"].entries


WRONG = [
    (("order=1", "order=2"), "its order is declared as 2"),
    (("order=1", "order=1, evaluations=lambda n: 2 * n"), "times has shape [1], and 2 evaluations are declared"),
    (("order=1", "order=1, evaluations=lambda n: n / 1"), "declares 1.0 evaluations for 1 steps"),
    (("h * at.da", "h / (times - 0.5)"), "not finite"),
    (("h * at.da", "h * at.db"), "its last state is not data"),
    (("h * at.db", "0.9 * h * at.db"), "its last state is not data"),
    (("h * at.da", "h * (1 + 0.3 * times) * at.da"), "but on 'rf' its error falls from 1.0e-01"),
    (("noise[:, None])", "noise)"), "image and noise have shapes [1, 1] and [1], not both [1, K]"),
    (("return Steps(times, image[:, None], noise[:, None])", "return image, noise"), "returned tuple, not Steps"),
    (("Steps(times,", "Steps(times / 2,"), "times must begin at 1"),
    (("Steps(times,", "Steps(torch.cat([times[:-1], times[-1:] * (0 if len(times) > 1 else 1)]),"), "lie between that"),
    (("image[:, None], noise[:, None]", "image[:, None].expand(-1, 2), noise[:, None].expand(-1, 2)"), "before the first"),
    (("at.a + h", "at.a + 1 / 0 + h"), "line 8): ZeroDivisionError: division by zero"),
    (('"mine"', '"My-Solver"'), "must be lower-case letters, digits, _ and +"),
    (('"mine"', '"euler"'), "the solver 'euler' exists already"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "words"), WRONG, ids=[words for _, words in WRONG])
def test_the_check_finds_what_is_wrong(
    change: tuple[str, str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(EULER)
    assert plugins.main(["check", str(file)]) == 0
    assert "solver mine: ok" in capsys.readouterr().out
    wrong = EULER.replace(*change)
    assert wrong != EULER
    file.write_text(wrong)
    assert plugins.main(["check", str(file)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_solver_that_is_not_there_is_named_before_anything_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*SMALL, "--settings", "4:1:hune", "--out", str(tmp_path / "run")]
    for look in ([], ["--dry-run"]):
        assert grid.main([*command, *look]) == 2
        assert "no solver is called 'hune'; did you mean 'heun'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="no solver is called 'hune'"):
        _ = parse("4:1:hune").evaluations


def test_the_plugin_of_the_page_goes_through_grid_ranking_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without another file; what its text drew is drawn again when the text changes, and nothing else is."""
    plugin, out = tmp_path / "my.py", tmp_path / "run"
    plugin.write_text(of_the_page())
    assert plugins.main(["check", str(plugin)]) == 0
    assert "solver midpoint: ok" in capsys.readouterr().out
    command = [*SMALL, "--plugin", str(plugin), "--settings", "2:5:midpoint", "4:1", "--out", str(out)]
    assert grid.main(command) == 0
    assert "midpoint" in (out / "grid.json").read_text()
    assert parse("2:5:midpoint").work == 8
    images = written(out, "images-*/*.safetensors")
    assert {p.name for p in images} == {
        f"{w}-{s}.safetensors" for w in ("ema", "raw") for s in ("2-5-midpoint", "4-1")
    }
    for module, words in (("analysis.rank", "rf/lognorm"), ("analysis.report", "")):
        done = subprocess.run(
            [sys.executable, "-m", module, str(out)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert words in done.stdout
    assert any("midpoint" in page.read_text() for page in out.rglob("*.html"))

    def again() -> tuple[set[str], str]:
        """The images that the same command draws, and what it prints to stderr."""
        before = written(out, "images-*/*.safetensors")
        capsys.readouterr()
        assert grid.main(command) == 0
        after = written(out, "images-*/*.safetensors")
        return {p.name for p in after if after[p] != before[p]}, capsys.readouterr().err

    assert again() == (set(), "nothing to run: 2 done\n")
    plugin.write_text(of_the_page() + "\n# another text\n")
    drawn, printed = again()
    assert drawn == {"ema-2-5-midpoint.safetensors", "raw-2-5-midpoint.safetensors"}
    assert "2 cells measured again: plugins of midpoint have changed" in printed
    assert again()[0] == set()
