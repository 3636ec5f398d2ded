"""Tar shards behind URLs: the same pictures as of the same files here, and one sentence for what cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from bench.cli.config_file import placed
from bench.data.sources import Unreachable, check, find
from bench.data.sources.remote import RemoteArchive
from flowbench._core.errors import UserError

from .pictures import encoded, expected, load, pairs, picture, shard, tar

COUNT = 40


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Any]:
    """Two shards of pictures in fsspec's file system in memory."""
    system = fsspec.filesystem("memory")
    for i, numbers in enumerate((range(25), range(25, COUNT))):
        local = shard(tmp_path / f"a-{i:02d}.tar", numbers, "json" if i else "txt")
        system.pipe_file(f"/bucket/set/a-{i:02d}.tar", local.read_bytes())
    yield system
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("pattern", ["a-*.tar", "a-{00..01}.tar", "{a-00,a-01}.tar", "a-0[01].tar"])
def test_shards_behind_a_url_are_those_here(pattern: str, memory: Any, tmp_path: Path, cache: Path) -> None:
    there = load(f"memory://bucket/set/{pattern}", cache)
    here = load(tmp_path / "a-*.tar", tmp_path / "other")
    assert pairs(there) == pairs(here) == expected(COUNT)
    assert there.name == "images:set"
    assert there.train.captions == here.train.captions
    assert there.skipped == there.notes == ()


def test_one_shard_and_a_changed_one(memory: Any, tmp_path: Path, cache: Path) -> None:
    url = "memory://bucket/set/a-00.tar"
    check(url)
    first, again = (find(url).fingerprint() for _ in range(2))
    assert first == again
    assert pairs(load(url, cache)) == expected(25)
    memory.pipe_file("/bucket/set/a-00.tar", shard(tmp_path / "b.tar", range(COUNT)).read_bytes())
    assert find(url).fingerprint() != first
    assert pairs(load(url, cache)) == expected(COUNT)


def test_a_shard_is_streamed_once_and_pictures_are_read_by_their_place(
    memory: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, read = list[str](), list[int]()
    real_open, real_read = RemoteArchive.open, RemoteArchive.read
    monkeypatch.setattr(RemoteArchive, "open", lambda self: opened.append(self.name) or real_open(self))
    monkeypatch.setattr(
        RemoteArchive, "read", lambda self, offset, size: read.append(size) or real_read(self, offset, size)
    )
    load("memory://bucket/set/a-*.tar", cache)
    assert opened == ["a-00.tar", "a-01.tar"]
    assert sorted(read) == sorted(len(encoded(picture(i))) for i in range(COUNT))
    load("memory://bucket/set/a-*.tar", cache)
    assert len(opened) == 2, "decoded pictures are kept"


def test_a_cut_shard_gives_what_it_has(memory: Any, cache: Path) -> None:
    whole = memory.cat_file("/bucket/set/a-01.tar")
    memory.pipe_file("/bucket/set/a-01.tar", whole[: 2 * len(whole) // 3])
    loaded = load("memory://bucket/set/a-*.tar", cache, max_skipped=0.2)
    assert 25 < len(pairs(loaded)) < COUNT
    assert any(each.startswith("a-01.tar: it is truncated") for each in loaded.skipped)


def test_a_shard_that_shrinks_after_it_was_listed(memory: Any, cache: Path) -> None:
    source = find("memory://bucket/set/a-00.tar")
    items = source.read().items
    memory.pipe_file("/bucket/set/a-00.tar", b"short")
    with pytest.raises(Unreachable, match=r"0 of .* bytes came: was it changed"):
        items[-1].read()


@pytest.mark.parametrize("when", ["open", "cat_file", "ukey"])
def test_a_fault_of_the_network_ends_a_command_and_skips_no_picture(
    when: str, memory: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(memory, when)

    def fails(path: str, *given: Any, **named: Any) -> Any:
        if "a-01" in path:
            raise TimeoutError("no answer\nafter 60 s")
        return real(path, *given, **named)

    monkeypatch.setattr(type(memory), when, staticmethod(fails))
    with pytest.raises(UserError) as error:
        load("memory://bucket/set/a-*.tar", cache, max_skipped=0.9)
    assert (
        str(error.value) == "/bucket/set/a-01.tar cannot be reached (no answer): run the same command again"
    )
    monkeypatch.undo()
    assert pairs(load("memory://bucket/set/a-*.tar", cache)) == expected(COUNT)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s4://bucket/a.tar", "the scheme 's4' is not known; did you mean 's3' or 'gs'?"),
        ("memory://bucket/set/b-*.tar", "there is no memory://bucket/set/b-*.tar"),
        ("memory://bucket/set/a-{00..02}.tar", "there is no memory://bucket/set/a-02.tar"),
        ("memory://bucket/words.txt", "only uncompressed .tar shards are read, not words.txt"),
        ("simplecache::memory://bucket/a.tar", "chained URLs are not read"),
    ],
)
def test_urls_that_are_not_read(url: str, message: str, memory: Any) -> None:
    memory.pipe_file("/bucket/words.txt", b"words")
    for look in (check, find):
        with pytest.raises(UserError) as error:
            look(url)
        assert message in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_a_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(
        UserError, match=r"images:s3://bucket/a\.tar needs a package that is not installed: Install s3fs"
    ):
        find("s3://bucket/a.tar")


def test_a_tar_without_pictures(memory: Any, tmp_path: Path, cache: Path) -> None:
    memory.pipe_file("/bucket/x.tar", tar(tmp_path / "x.tar", {"a.txt": b"words"}).read_bytes())
    with pytest.raises(UserError, match="it has a caption, but no picture"):
        load("memory://bucket/x.tar", cache)


def test_a_config_in_another_folder_leaves_urls_as_they_are(tmp_path: Path) -> None:
    for url in ("images:s3://bucket/{00..31}.tar", "images:https://host/a.tar"):
        assert placed("datasets", url, tmp_path) == url
