"""A plugin is what its text says, without a bytecode cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

import samplers

TEXT = """
from samplers import Sampler, register

@register("bytecode")
def bytecode() -> Sampler:
    return Sampler(lambda u: u**1)
"""


def test_an_edit_of_equal_size_at_the_same_time_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file, u = tmp_path / "mine.py", torch.tensor([0.5], dtype=torch.float64)
    found = []
    for power in "12":
        file.write_text(TEXT.replace("u**1", f"u**{power}"))
        os.utime(file, (1_000_000, 1_000_000))
        samplers.load_plugin(file)
        found.append(float(samplers.get("bytecode").quantile(u)))
    assert found == [0.5, 0.25]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
