"""Tests may register names; every test leaves the registries as it found them. The user's cache is nobody's business."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

import formulations.specs
import samplers.base
from samplers import plugin

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
