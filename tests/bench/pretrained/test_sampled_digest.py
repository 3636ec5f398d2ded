"""The digest of samples against its definition: any change of a small file, and of a large one any that samples show."""

from __future__ import annotations

import hashlib
import os
from itertools import pairwise
from pathlib import Path

import pytest

from bench.pretrained.sampled_digest import BLOCK, BLOCKS, sampled_digest

WHOLE = BLOCK * BLOCKS


def test_a_small_file_is_read_whole(tmp_path: Path) -> None:
    for content in (b"abc", b"abd"):
        assert digest_of(tmp_path / "x", content) == hashlib.sha256(b"3 " + content).hexdigest()[:16]


@pytest.mark.parametrize("size", [WHOLE + 1, 3 * WHOLE + 5])
def test_a_large_file_is_read_at_equal_distances_from_end_to_end(size: int, tmp_path: Path) -> None:
    content = bytearray((b"some weights of a network" * (size // 25 + 1))[:size])
    file = tmp_path / "weights"
    seen = {place: digest_of(file, content, place) for place in (None, 0, size - 1)}
    starts = [(size - BLOCK) * number // (BLOCKS - 1) for number in range(BLOCKS)]
    samples = b"".join(bytes(content[start : start + BLOCK]) for start in starts)
    assert seen[None] == hashlib.sha256(f"{size} ".encode() + samples).hexdigest()[:16]
    assert len(set(seen.values())) == 3
    assert max(b - a for a, b in pairwise(starts)) <= size // (BLOCKS - 1) + 1
    assert digest_of(file, content[:-1]) != seen[None]


def digest_of(file: Path, content: bytes | bytearray, changed: int | None = None) -> str:
    """The digest of a file with one byte changed, written a second after the last."""
    new, before = bytearray(content), file.stat().st_mtime_ns if file.exists() else 0
    if changed is not None:
        new[changed] ^= 1
    file.write_bytes(new)
    os.utime(file, ns=(0, before + 10**9))
    return sampled_digest(file)
