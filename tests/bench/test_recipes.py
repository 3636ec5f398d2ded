"""``python -m bench.recipes``: its table, and its mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import recipes


def test_a_table_and_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "losses.json"
    assert recipes.main(["--preset", "smoke", "--steps", "2", "--out", str(file)]) == 0
    kept = json.loads(file.read_text())
    assert list(kept["losses"]) == list(recipes.RECIPES)
    assert (kept["seed"], kept["training"]["steps"]) == (recipes.SEED, 2)
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head == "| formulation | " + " | ".join(recipes.RECIPES) + " |"
    assert {line.split(" | ")[0] for line in lines} == {f"| {name}" for name in kept["losses"]["plain"]}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--preset", "quik"], "did you mean 'quick'?"),
        (["--steps", "0"], "--steps 0"),
        (["--steps", "few"], "'few' is not a whole number"),
        (["--step", "3"], "unknown option '--step': did you mean '--steps'"),
        (["--out", "{}"], "name a file in a folder that is there"),
        (["--out", "{}/nowhere/losses.json"], "name a file in a folder that is there"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_trained(
    argv: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recipes, "train", lambda *given: pytest.fail("it began"))
    assert recipes.main([word.format(tmp_path) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words in error
    assert error.count("\n") == 1
