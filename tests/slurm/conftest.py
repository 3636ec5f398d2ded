"""Tests on an emulated Slurm cluster: the fixture `cluster`, and `@pytest.mark.knobs(DB=0)` for other settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, Unavailable
from .turns import Turns

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def turns() -> Iterator[Turns]:
    """This process's share in the cluster, which starts with the first test and is stopped after the last."""
    if reason := Cluster.obstacle():
        pytest.skip(reason)
    shared = Turns(Cluster())
    yield shared
    shared.leave()


@pytest.fixture
def cluster(
    turns: Turns, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """A running cluster with nothing in it, and commands of Slurm in this process talk to it."""
    try:
        with turns.turn(_knobs(request.node)) as ready, monkeypatch.context() as patch:
            for name, value in ready.environment().items():
                patch.setenv(name, value)
            yield ready
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests with the same knobs run one after the other."""
    places = [place for place, item in enumerate(items) if HERE in item.path.parents]
    ours = sorted((items[place] for place in places), key=lambda item: sorted(map(str, _knobs(item).items())))
    for place, item in zip(places, ours, strict=True):
        items[place] = item


def _knobs(item: pytest.Item) -> dict[str, int | str]:
    marker = item.get_closest_marker("knobs")
    return dict(marker.kwargs) if marker else {}
