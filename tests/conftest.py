"""Tests may register names; every test leaves the registries as it found them. The user's cache is left alone.

Tests run in as many processes as there are cores (``-n 0``: in this one, for a debugger), each with one thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# before torch is imported, and for the commands that tests start: threads on busy cores only wait for each other
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
from hypothesis import settings

from bench.machine import cores
from bench.machine.device import processor
from flowbench._core import plugin
from flowbench._core.registry import KINDS

from .faults import Faults

PROCESSES = 8
"""At most: each imports torch, and needs about a gigabyte."""

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
    before = {kind: dict(registry.entries) for kind, registry in KINDS.items()}
    done = dict(plugin._done)
    yield
    for kind, entries in before.items():
        KINDS[kind].entries.clear()
        KINDS[kind].entries.update(entries)
    plugin._done.clear()
    plugin._done.update(done)
    for registry in KINDS.values():
        for clear in registry.caches:
            clear()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests that are marked long")
    faults = "write what the fault tests measured (one process: -n 0)"
    parser.addoption("--faults", type=Path, metavar="FILE", help=faults)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core that may be used; the table of faults is written by one."""
    return 0 if config.getoption("--faults") else min(cores.most(), PROCESSES)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    if config.getoption("--faults") and config.getoption("numprocesses") not in ("auto", 0, None):
        raise pytest.UsageError("--faults FILE: one process measures; leave out -n, or give -n 0")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``long`` run with ``--long``."""
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: runs with --long"))


@pytest.fixture(scope="session")
def faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Takes what a fault test measured; writes the table at the end if it was asked for."""
    collected = Faults()
    yield collected
    if file := request.config.getoption("--faults"):
        collected.write(file, f"{processor()}, {os.cpu_count()} cores")
