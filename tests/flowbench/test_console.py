"""The command ``flowbench``: every command by one name, nothing imported before, mistakes in a sentence."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import flowbench
from flowbench import console
from flowbench._core.command import Parser
from flowbench._core.errors import UserError

INTERNAL = {
    "bench.launch.share",
    "bench.worker.begin",
    "bench.worker.follower",
    "bench.speed.device_rates",
    "bench.runfolder.shield",
    "flowbench.__main__",
}
"""Modules that other processes run, and no user."""


def test_every_module_that_can_be_run_is_a_command() -> None:
    root = Path(flowbench.ROOT)
    files = [file for package in flowbench.PACKAGES for file in (root / package).rglob("*.py")]
    found = {
        ".".join(file.relative_to(root).with_suffix("").parts)
        for file in files
        if '__name__ == "__main__"' in file.read_text()
    }
    assert len(found) > 10
    commands = {command.module for command in console.COMMANDS.values()}
    assert found - INTERNAL == commands


def test_a_command_gets_its_arguments_and_gives_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[str]] = []
    rank = importlib.import_module("analysis.rank")
    monkeypatch.setattr(rank, "main", lambda argv: given.append(argv) or 7)
    assert console.main(["rank", "runs/quick", "--format", "md"]) == 7
    assert given == [["runs/quick", "--format", "md"]]


def test_alone_it_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main([]) == 0
    said = capsys.readouterr().out
    for name, command in console.COMMANDS.items():
        assert f"  {name} " in said
        assert command.line in said


@pytest.mark.parametrize(("word", "meant"), [("gird", "grid"), ("reprot", "report"), ("plot", "plots")])
def test_a_misspelt_command_is_a_sentence_with_the_nearest(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert console.main([word, "--help"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: flowbench has no command {word!r}: did you mean ")
    assert f"'{meant}'" in said
    assert said.count("\n") == 1


def test_listing_imports_none_of_the_commands() -> None:
    code = (
        "import sys\nfrom flowbench import console\nconsole.main([])\n"
        "print(sorted(sys.modules.keys() & {'torch', 'pandas', 'numpy', 'bench', 'analysis', 'formulations', 'samplers'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=flowbench.ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_users_file_of_the_same_name_hides_nothing(tmp_path: Path) -> None:
    """As an installed command has it, the folder where it runs is not where modules are looked for."""
    (tmp_path / "bench.py").write_text("raise SystemExit('another program')")
    code = (
        f"import sys\nsys.path[0] = {flowbench.ROOT!r}\nfrom flowbench.console import main\nsys.exit(main())"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "flowbench").write_text(code)
    done = subprocess.run(
        [sys.executable, "bin/flowbench", "grid", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("flowbench ")


def test_options_are_given_by_their_whole_names() -> None:
    with pytest.raises(UserError, match="unknown option '--verb': did you mean '--verbose'"):
        Parser().parse(["--verb"])
