"""``python -m bench.plugins`` lists every kind, and checks what plugins add to any of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plugins import main
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from flowbench._core.registry import KINDS, Registry

PLUGIN = """
import samplers
from formulations import Formulation, register
from formulations.targets import velocity

@register("my/late(k)")
def late(k: float = 2.0) -> Formulation:
    return Formulation(path=lambda t: (1 - t, t**k), target=velocity)

@samplers.register("mine(a)")
def mine(a{default}) -> samplers.Sampler:
    return samplers.Sampler(lambda u: u**a)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(default="=2"))
    return file


def test_every_kind_is_listed_with_its_members(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    out = capsys.readouterr().out
    for kind, registry in KINDS.items():
        assert f"{kind}  (entry points: flowbench.{kind}s)" in out
        assert all(entry.template in out for entry in registry.entries.values())


def test_members_of_every_kind_in_a_file_are_checked(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(plugin)]) == 0
    out = capsys.readouterr().out
    assert "formulation my/late: ok\n  times: monotone" in out
    assert "sampler mine: ok\n  times: monotone" in out


def test_members_are_checked_by_name(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "formulation", "my/late(3)", "--plugin", str(plugin)]) == 0
    assert capsys.readouterr().out.startswith("formulation my/late(3): ok\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "formulaton", "rf"], "no kind is called 'formulaton'; did you mean 'formulation'"),
        (["check", "sampler", "lognorm"], "'logno"),
        (["check", "sampler"], "check sampler what?"),
        (["chek", "rf"], "say 'check FILE.py ...'"),
        (["check"], "say 'check FILE.py ...'"),
        (["check", "none.py"], "plugin 'none.py' is not a file"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_a_file_must_register_something_that_its_name_makes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(default=""))
    assert main(["check", str(file)]) == 2
    assert "'mine(a)' lacks a value for a: give the function defaults" in capsys.readouterr().err
    empty = tmp_path / "empty.py"
    empty.write_text("")
    assert main(["check", str(empty)]) == 2
    assert "registers nothing" in capsys.readouterr().err


def test_a_failed_plugin_is_taken_back_from_every_kind(tmp_path: Path) -> None:
    fruits: Registry[str] = Registry("fruit")
    try:
        file = tmp_path / "fruits.py"
        file.write_text(
            "from flowbench._core.registry import KINDS\n"
            "import samplers\n"
            "KINDS['fruit'].register('pear')(lambda: 'pear')\n"
            "samplers.register('mine')(lambda: samplers.get('uniform'))\n"
            "1 / 0\n"
        )
        with pytest.raises(UserError, match="line 5"):
            load_plugin(file)
        assert not fruits.entries
        assert "mine" not in KINDS["sampler"].entries
        file.write_text(file.read_text().replace("1 / 0\n", ""))
        load_plugin(file)
        assert fruits["pear"].function() == "pear"
        with pytest.raises(UserError, match="no fruit is called 'paer'; did you mean 'pear'"):
            fruits["paer"]
    finally:
        del KINDS["fruit"]
