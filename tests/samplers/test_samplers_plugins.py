"""Registering: decorator, plugin files, installed packages; a mistake leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import formulations
import samplers
import samplers.sampler_registry
from flowbench._core import registry
from flowbench._core.errors import UserError
from flowbench._core.plugin import changed
from samplers import Sampler

SQUARE = """
import formulations, samplers

@samplers.register("square(k)")
def square(k=2.0):
    "t = u^k"
    return samplers.Sampler(lambda u: u**k)

@formulations.register("my/root(k)")
def root(k):
    return formulations.Formulation(lambda t: (1 - t**k, t**k), formulations.targets.velocity)
"""


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_registered_sampler_is_a_name_like_any_other() -> None:
    @samplers.register("cube(k)")
    def cube(k: float = 3.0) -> Sampler:
        return Sampler(lambda u: u**k)

    assert samplers.get("cube").name == "cube(3.00)"
    assert "cube(3.00)" in samplers.names()
    assert formulations.get("v/cos/cube(2)").name == "v/cos/cube(2.00)"
    u = torch.tensor([0.5], dtype=torch.float64)
    assert float(samplers.get("mix(.5,cube(2))").pdf(u)) == pytest.approx(0.5 / (2 * 0.5**0.5) + 0.5)


def test_a_plugin_file_registers_both_kinds_and_runs_once(tmp_path: Path) -> None:
    file = write(tmp_path, SQUARE)
    assert samplers.load_plugin(file) == ("square", "my/root") == samplers.load_plugin(str(file))
    assert formulations.get("my/root(2)/square").name == "my/root(2.00)/square(2.00)"


def test_a_plugin_file_that_was_edited_is_loaded_anew(tmp_path: Path) -> None:
    file = write(tmp_path, SQUARE.replace("square", "edited").replace("my/root", "my/edited"))
    samplers.load_plugin(file)
    half = torch.tensor([0.5], dtype=torch.float64)

    def value() -> float:
        return float(samplers.get("edited(2)").quantile(half))

    before = value()
    file.write_text(file.read_text().replace("u**k", "u ** (2 * k)"))
    assert changed(file)
    assert samplers.load_plugin(file) == ("edited", "my/edited")
    assert not changed(file)
    assert value() == pytest.approx(before**2)
    text = file.read_text()
    file.write_text(text + "raise ValueError('no')\n")
    with pytest.raises(UserError, match="ValueError: no"):
        samplers.load_plugin(file)
    assert value() == pytest.approx(before**2), "what was there stays"
    file.write_text(text.replace("my/edited", "my/renamed"))
    assert samplers.load_plugin(file) == ("edited", "my/renamed")
    with pytest.raises(UserError):
        formulations.get("my/edited(2)")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\nraise ValueError('two\\nlines')\n", "mine.py', line 2: ValueError: two lines"),
        ("def f(:\n", "line 1: SyntaxError: invalid syntax"),
        ("import nowhere_at_all\n", "line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import sys\n\nsys.exit(3)\n", "line 3: SystemExit: 3"),
        (
            "from samplers import register\n@register('cosmap')\ndef f(): ...\n",
            "line 2: .*'cosmap' exists already",
        ),
        (
            "from samplers import register\n@register('a(s)')\ndef f(t): ...\n",
            r"takes \(t\), the name has \(s\)",
        ),
        ("from samplers import register\n@register('a b')\ndef f(): ...\n", "expected a form such as"),
        ("import formulations as f\n@f.register('v/cos')\ndef g(): ...\n", "'v/cos' exists already"),
        ("import formulations as f\n@f.register('rf')\ndef g(): ...\n", "'rf' exists already"),
        ("import formulations as f\n@f.register('eps')\ndef g(): ...\n", "'eps' exists already"),
        ("import formulations as f\n@f.register('rf/cosmap')\ndef g(): ...\n", "'rf/cosmap' exists already"),
        ("import formulations as f\n@f.register('velocity/gvp')\ndef g(): ...\n", "exists already"),
    ],
)
def test_a_broken_plugin_is_one_sentence_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        samplers.load_plugin(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_plugin_that_fails_halfway_registers_nothing(tmp_path: Path) -> None:
    file = write(tmp_path, SQUARE + "\n1 / 0\n")
    with pytest.raises(UserError, match="ZeroDivisionError"):
        samplers.load_plugin(file)
    with pytest.raises(UserError, match="no sampler is called 'square'"):
        samplers.get("square")
    write(tmp_path, SQUARE)
    assert "square" in samplers.load_plugin(file)


def test_a_missing_or_foreign_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        samplers.load_plugin(tmp_path / "none.py")
    with pytest.raises(UserError, match="not a Python file"):
        samplers.load_plugin(write(tmp_path, "", "notes.txt"))


def test_a_sampler_function_that_misbehaves_is_one_sentence() -> None:
    @samplers.register("wrong")
    def wrong() -> Any:
        return lambda u: u

    @samplers.register("raises(k)")
    def raises(k: float) -> Sampler:
        raise KeyError("deep")

    with pytest.raises(UserError, match="'wrong' returned function, not a Sampler"):
        samplers.get("wrong")
    with pytest.raises(
        UserError, match=r"'raises\(1.00\)' \(.*test_samplers_plugins.py, line \d+\): KeyError"
    ):
        samplers.get("raises(1)")


@dataclass
class Point:
    name: str
    action: Callable[[], None]

    def load(self) -> None:
        self.action()


def installed(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> list[str]:
    """Pretends that a package offers one entry point in each group; returns the groups that were asked."""
    asked: list[str] = []

    def entry_points(group: str) -> list[Point]:
        asked.append(group)
        return [Point("pack", action)] if group == "flowbench.samplers" else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    monkeypatch.setattr(samplers.sampler_registry.registry, "_loaded", False)
    return asked


def test_installed_packages_are_asked_only_for_unknown_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def action() -> None:
        samplers.register("packed")(lambda: Sampler(lambda u: u))

    asked = installed(monkeypatch, action)
    samplers.get.cache_clear()  # type: ignore[attr-defined]
    assert samplers.get("lognorm(0,1)").name
    assert asked == []
    assert samplers.get("packed").name == "packed"
    assert samplers.get("packed").name in samplers.names()
    assert asked == ["flowbench.samplers"]


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def action() -> None:
        raise ImportError("no such thing")

    installed(monkeypatch, action)
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"entry point 'pack' of group 'flowbench.samplers'.*no such thing"
        ):
            samplers.get("unheard")
