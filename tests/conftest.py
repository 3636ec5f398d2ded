"""Tests may register names; every test leaves the registries as it found them. The user's cache is nobody's business."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import formulations.specs
import samplers.base
from bench.machine import processor
from samplers import plugin

from .faults import Faults

# the same cases in every run: a test that fails must fail again
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Everything that is kept between runs is kept in a folder of this session, from the first fixture on."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "inductor"))
        yield


@pytest.fixture(autouse=True)
def clean_registries() -> Iterator[None]:
    before = [dict(r.entries) for r in plugin.registries]
    done = dict(plugin._done)
    yield
    for registry, entries in zip(plugin.registries, before, strict=True):
        registry.entries.clear()
        registry.entries.update(entries)
    plugin._done.clear()
    plugin._done.update(done)
    samplers.base.get.cache_clear()
    formulations.specs.get.cache_clear()


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "also run the long fault tests, and write what was measured"
    parser.addoption("--faults", type=Path, metavar="FILE", help=told)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``long`` run when the table of faults is asked for."""
    if config.getoption("--faults") is None:
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: runs with --faults FILE"))


@pytest.fixture(scope="session")
def faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Takes what a fault test measured; writes the table at the end if it was asked for."""
    collected = Faults()
    yield collected
    if file := request.config.getoption("--faults"):
        collected.write(file, f"{processor()}, {os.cpu_count()} cores")
