"""The command that a finished run advises works as it is printed, and trains the seeds that are lacking and no others."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from ..runs import files, run

COMMAND = [
    "--preset", "smoke", "--formulations", "eps/linear", "eps/cos", "--train-images", "96", "--validation-images=48",
    "--steps", "40", "--batch", "16", "--validations", "1", "--validation-batch", "16", "--settings", "4:5",
    "--samples", "16", "--device", "cpu",
]  # fmt: skip


def seeds_trained(folder: Path) -> dict[int, set[str]]:
    """The cells of each seed that have weights."""
    found: dict[int, set[str]] = {}
    for weights in folder.glob("cells/*/ema.safetensors"):
        seed = json.loads((weights.parent / "config.json").read_text())["cell"]["seed"]
        found.setdefault(seed, set()).add(weights.parent.name)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    ("given", "seeds", "opening"),
    [
        (["--seeds", "1"], 1, "One seed cannot decide"),
        (["--minutes", "0.001"], 1, "One seed cannot decide"),
        (["--minutes=4", "--seeds=2", "--retry", "failed"], 2, "Undecided"),
    ],
)
def test_the_advised_command_trains_what_is_lacking(
    given: list[str], seeds: int, opening: str, tmp_path: Path
) -> None:
    out = tmp_path / "a folder"
    first = run([*given, *COMMAND, "--out", str(out)])
    answer = first.stdout.splitlines()[-1]
    assert answer.startswith(opening), first.stdout + first.stderr
    before, there = files(out), seeds_trained(out)
    assert sorted(there) == list(range(seeds))

    (printed,) = re.findall("`(.*)`", answer)
    words = shlex.split(printed)
    assert words[:3] == ["python", "-m", "bench.grid"]
    assert words[3:-2] == [*COMMAND, "--out", str(out)]
    assert words[-2] == "--seeds"
    second = run(words[3:])
    assert second.returncode == 0, second.stderr
    assert f" {words[-1]} seeds; " in second.stdout, "all are ranked"

    now, after = seeds_trained(out), files(out)
    assert sorted(now) == list(range(int(words[-1])))
    assert {seed: now[seed] for seed in there} == there
    assert {name: after[name] for name in before} == before, "no cell was trained or measured twice"
