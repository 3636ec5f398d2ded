"""Before anything is imported: an old Python, a package that is missing, a file that hides one of ours, ``--version``."""

from __future__ import annotations

import os
import signal
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
    "bench.tinyclip",
]


def run(folder: Path, *arguments: str, path: Path | str = flowbench.ROOT) -> subprocess.CompletedProcess[str]:
    """A command in a folder, with ``path`` as Python's."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_prints_its_version(command: str, tmp_path: Path) -> None:
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
        f"or rename that one\n"
    )


FINDER = """
import sys
from importlib.machinery import PathFinder

class Last:
    def find_spec(name, path=None, target=None):
        if path is None:
            return PathFinder.find_spec(name, [{root!r}])
        parent = name.rpartition(".")[0]
        return PathFinder.find_spec(name, [{root!r} + "/" + parent]) if parent in {packages!r} else None

sys.path[:] = [folder for folder in sys.path if folder != {root!r}]
sys.meta_path.append(Last)
"""
"""As ``pip install -e`` has it: our packages are looked for last."""


def test_a_folder_without_python_files_is_named_where_it_hides_an_editable_installation(
    tmp_path: Path,
) -> None:
    site, here = tmp_path / "site", tmp_path / "here"
    site.mkdir()
    (site / "sitecustomize.py").write_text(FINDER.format(root=flowbench.ROOT, packages=flowbench.PACKAGES))
    for hidden in ("analysis", "samplers", "bench"):
        (here / hidden).mkdir(parents=True)
        done = run(here, "-m", "bench.grid", "--version", path=site)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"error: {here / hidden} hides flowbench's own {hidden!r}: ")
        assert done.stderr.count("\n") == 1
        (here / hidden).rename(here / f"my-{hidden}")
        assert run(here, "-m", "bench.grid", "--version", path=site).returncode == 0


def test_such_a_folder_hides_nothing_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    assert run(tmp_path, "-m", "analysis.rank", "--version").returncode == 0


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


@pytest.mark.parametrize("command", ["bench.ideal", "bench.recipes", "bench.speed"])
def test_an_interruption_while_torch_is_imported_is_one_word(command: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")
    done = run(tmp_path, "-m", command)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "interrupted\n")


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
