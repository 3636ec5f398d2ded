"""The house: every room imports only those below it, nothing imports in a circle, only commands lie loose, no module has the
name of another, and tests lie where the tree has what they test."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import flowbench
from flowbench.console import COMMANDS

ROOT = Path(flowbench.ROOT)
FLOORS = (
    "flowbench/_core",
    "samplers",
    "formulations",
    "bench/solvers",
    "bench/config",
    "bench/runfolder",
    "bench/machine",
    "bench/tracking",
    "bench/pretrained",
    "bench/data",
    "bench/models",
    "bench/optimisers",
    "bench/objectives",
    "bench/encoders",
    "bench/metrics",
    "analysis/runs",
    "analysis/tables",
    "analysis/stats",
    "analysis/ranking",
    "analysis/published",
    "analysis/comparisons",
    "analysis/plots",
    "analysis/scaling",
    "analysis/report",
    "analysis/archives",
    "analysis",
    "bench/planning",
    "bench/cost",
    "bench/training",
    "bench/sampling",
    "bench/launch",
    "bench/cli",
    "bench/worker",
    "bench/drawing",
    "bench/status",
    "bench/driver",
    "bench/parity",
    "bench",
    "bench/speed",
    "flowbench",
)
"""Rooms from the ground up. A folder within a room belongs to it."""
REFERENCE = re.compile(r":(?:mod|func|class|data|meth):`([a-z_]+(?:\.\w+)+)`")


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    files = (
        file for package in (*flowbench.PACKAGES, "flowbench") for file in (ROOT / package).rglob("*.py")
    )
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def imported(name: str, known: dict[str, Path]) -> Iterator[str]:
    """Modules of ours that a module imports, anywhere in it but for its annotations."""
    package = name if known[name].name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(known[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in known else base
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def graph() -> dict[str, set[str]]:
    """What imports what. The public face imports commands when they are used, and the packages import it to see whether
    flowbench can run: its own imports are left out."""
    known = modules()
    found = {name: set(imported(name, known)) & known.keys() - {name} for name in known}
    found["flowbench"] = set()
    return found


def floor(name: str, file: Path) -> int:
    """The floor of a module's room; what every package imports first is on the ground."""
    if name in ("flowbench", "bench", "analysis"):
        return -1
    folder = file.relative_to(ROOT).parent
    return next(FLOORS.index(str(f)) for f in (folder, *folder.parents) if str(f) in FLOORS)


def test_no_module_imports_in_a_circle() -> None:
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_imports_point_downwards() -> None:
    known = modules()
    upward = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in others
        if floor(other, known[other]) > floor(name, known[name])
    ]
    assert upward == []


def test_only_commands_lie_next_to_the_rooms() -> None:
    commands = {command.module for command in COMMANDS.values()}
    loose = {n for n, f in modules().items() if f.parent in (ROOT / "bench", ROOT / "analysis")}
    assert loose - commands == {"bench", "analysis"}


def test_no_two_modules_have_the_same_name() -> None:
    found = Counter(file.stem for file in modules().values() if not file.stem.startswith("__"))
    assert [name for name, count in found.items() if count > 1] == []


def test_tests_mirror_the_tree() -> None:
    files = [file.relative_to(ROOT / "tests") for file in (ROOT / "tests").rglob("*.py")]
    names = Counter(file.stem for file in files if file.stem != "conftest")
    assert [name for name, count in names.items() if count > 1] == []
    elsewhere = {str(f.parent) for f in files if not (ROOT / f.parent).is_dir()}
    assert elsewhere == {"browser", "slurm"}, "rooms of their own: they need a browser or a cluster"


def test_references_in_docstrings_exist() -> None:
    known, stale = modules(), []
    for name, file in known.items():
        for whole in REFERENCE.findall(file.read_text(encoding="utf-8")):
            parts = whole.split(".")
            module = next(
                (".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), ""
            )
            rest = parts[module.count(".") + 1 :] if module else parts
            text = known[module].read_text(encoding="utf-8") if module else ""
            if not all(re.search(rf"\b{part}\b", text) for part in rest[:1]):
                stale.append(f"{name}: {whole}")
    assert stale == []


def test_every_room_says_what_lives_there() -> None:
    for folder in FLOORS:
        assert ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))), (
            folder
        )
