"""Runs that many tests of figures look at, and what is drawn of them."""

from __future__ import annotations

import pytest

from analysis import plots
from analysis.plots import files
from analysis.plots.style import Drawn
from analysis.runs.run import Run

from .plotted import FEW, STUDY, folder, ranked


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return folder(tmp_path_factory.mktemp("few"), seeds=3)


@pytest.fixture(scope="session")
def drawn(few: Run) -> dict[str, Drawn]:
    return {figure.name: figure for figure in plots.draw(few, ranked(few))[0]}


@pytest.fixture(scope="session")
def svgs(drawn: dict[str, Drawn]) -> dict[str, str]:
    """The figures as SVG."""
    return {name: files.render(figure, "svg").decode() for name, figure in drawn.items()}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return folder(tmp_path_factory.mktemp("study"), STUDY, settings=((25, 5.0), (5, 5.0)))


@pytest.fixture(scope="session")
def large(study: Run) -> dict[str, Drawn]:
    return {figure.name: figure for figure in plots.draw(study, ranked(study))[0]}


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """eps/linear always diverges, v/cos in its second seed, rf fails in its first; edm has not been trained at all."""

    def status(name: str, dataset: str, seed: int) -> str | None:
        lost = {("eps/linear", 0), ("eps/linear", 1), ("v/cos", 1)}
        return "diverged" if (name, seed) in lost else "failed" if (name, seed) == ("rf", 0) else None

    return folder(tmp_path_factory.mktemp("half"), FEW[:5], status=status)
