"""``--quiet`` and ``--verbose``: what each command shows, and that the loggers are as before afterwards."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import pytest

from bench import grid, plugins
from flowbench._core import logs
from flowbench._core.command import outcome
from flowbench.console import COMMANDS

from ..runs import SMALL, cell_of


@pytest.mark.usefixtures("here")
def test_quiet_shows_results_and_verbose_the_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {}
    for option in ("-q", "-v"):
        argv = [*SMALL, "--steps", "4", "--validations", "1", "--compile", "off", "--settings", "2:1"]
        assert grid.main([*argv, "--out", str(tmp_path / option), option]) == 0
        shown[option] = capsys.readouterr()
    assert "rank all" in shown["-q"].out
    assert shown["-q"].err == ""
    assert "rank all" in shown["-v"].out
    cell = cell_of(tmp_path / "-v", "eps/linear").name
    assert f"cell {cell}: eps/linear" in shown["-v"].err
    assert "on cpu" in shown["-v"].err
    assert "worker 0 settled" in shown["-v"].err
    assert "exit code 0 after " in shown["-v"].err


def test_a_mistake_is_shown_by_all(capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--quiet"]):
        assert plugins.main(["check", "solver", "eulr", *options]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert plugins.main(["-q", "-v"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("level", "shown"),
    [(logging.DEBUG, 4), (logging.INFO, 3), (logging.ERROR, 1)],
)
def test_records_are_plain_lines(level: int, shown: int, capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("bench.somewhere")
    before = logging.getLogger("bench").level
    with logs.shown(), logs.shown():
        logs.show(level)
        log.error("a %s", "mistake")
        log.warning("a doubt of 3 %")
        log.info("a step")
        log.debug("a detail")
    log.error("of a library")
    wanted = ["error: a mistake", "warning: a doubt of 3 %", "a step", "a detail"]
    assert capsys.readouterr().err.splitlines()[:shown] == wanted[:shown]
    assert logging.getLogger("bench").level == before
    assert not logging.getLogger("bench").handlers


def test_a_command_forgets_the_level_of_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins.main(["--quiet"]) == 0
    assert outcome(lambda: logging.getLogger("bench").info("shown") or 0) == 0
    assert capsys.readouterr().err == "shown\n"


def test_commands_log_by_their_own_name_also_as_main_modules() -> None:
    """``python -m bench.grid`` is ``__main__``, whose logger is none of the packages'."""
    for command in COMMANDS.values():
        spec = importlib.util.find_spec(command.module)
        assert spec is not None
        main = (
            importlib.util.find_spec(f"{command.module}.__main__")
            if spec.submodule_search_locations
            else spec
        )
        assert main is not None
        assert main.origin is not None
        assert "getLogger(__name__)" not in Path(main.origin).read_text(), command.module
