"""Before anything is imported: an old Python, a package that is missing, a file that hides one of ours, ``--version``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import flowbench

COMMANDS = [
    "bench.grid",
    "bench.speed",
    "analysis.rank",
    "analysis.report",
    "formulations",
    "bench.metrics.tinyclip",
]


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a folder."""
    environment = {**os.environ, "PYTHONPATH": flowbench.ROOT}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_its_version(command: str, tmp_path: Path) -> None:
    done = run(tmp_path, "-m", command, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"flowbench {metadata.version('flowbench')}, Python 3.")


@pytest.mark.parametrize("name", ["analysis/__init__.py", "formulations.py", "samplers.py"])
def test_a_file_that_hides_one_of_our_packages_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("print('another program')")
    done = run(tmp_path, "-m", "bench.grid", "--version")
    package = name.partition("/")[0].removesuffix(".py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path / name} hides flowbench's own {package!r}: run the command in another folder, "
        f"or rename that file\n"
    )


@pytest.mark.parametrize("command", ["bench.grid"])
def test_a_missing_package_is_one_sentence(command: str, tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'pandas'\", name='pandas')"
    )
    (tmp_path / "rich.py").write_text("raise ModuleNotFoundError(\"No module named 'rich'\", name='rich')")
    done = run(tmp_path, "-m", command, "--version")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: the package '")
    assert done.stderr.count("\n") == 1
    assert "pip install" in done.stderr


def test_an_old_python_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    flowbench.check_python()
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(sys, "version", "3.9.2 (default)")
    with pytest.raises(SystemExit, match=r"flowbench needs Python 3\.11 or newer, and this is 3\.9\.2"):
        flowbench.check_python()


def test_an_old_python_can_read_the_guard() -> None:
    """It is parsed by the Python that is too old, so it has no later syntax."""
    import ast

    for package in ("flowbench", "bench", "analysis", "samplers", "formulations"):
        text = (Path(flowbench.ROOT) / package / "__init__.py").read_text()
        found = ast.parse(text, feature_version=(3, 7))
        first = next(node for node in found.body if isinstance(node, ast.Import | ast.ImportFrom))
        names = [a.name for a in first.names] if isinstance(first, ast.Import) else [first.module]
        assert package == "flowbench" or names[0] in ("flowbench", "time"), f"{package} looks first"
