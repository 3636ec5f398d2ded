"""Files of prompts: those of GenEval and of PartiPrompts as they are, and what is none in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.drawing import prompts
from flowbench._core.errors import UserError

GENEVAL = """{"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"}
{"tag": "position", "include": [{"class": "dog", "count": 1}, {"class": "cup", "count": 1, "position": ["left of", 0]}], \
"prompt": "a photo of a cup left of a dog"}

"""
PARTI = 'Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\tBiology-inspired\na sign that says "Hi\tArts\tWriting\t\n'


def saved(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_genevals_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    found = prompts.read(saved(tmp_path, "evaluation_metadata.jsonl", GENEVAL))
    assert [p.text for p in found] == ["a photo of a bench", "a photo of a cup left of a dog"]
    assert [p.about for p in found] == [json.loads(line) for line in GENEVAL.splitlines() if line]


def test_partiprompts_table_is_read_with_its_columns(tmp_path: Path) -> None:
    found = prompts.read(saved(tmp_path, "PartiPrompts.tsv", PARTI))
    assert [p.text for p in found] == ["bond", 'a sign that says "Hi']
    assert found[0].about == {
        "Prompt": "bond",
        "Category": "Abstract",
        "Challenge": "Basic",
        "Note": "Biology-inspired",
    }


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.txt", "a cat", "needed is GenEval's .jsonl"),
        ("p.jsonl", '{"prompt": "a cat"}\n{"prompt": 3}', "line 2 has no prompt"),
        ("p.jsonl", '{"text": "a cat"}', "line 1 has no prompt"),
        ("p.jsonl", '["a cat"]', "line 1 has no prompt"),
        ("p.jsonl", '{"prompt": "a cat"', "line 1 is not JSON"),
        ("p.jsonl", "\n\n", "holds no prompt"),
        ("p.tsv", "Caption\tNote\na cat\t\n", "line 2 has no prompt"),
        ("p.tsv", "Prompt\tNote\n", "holds no prompt"),
        ("p.tsv", "Prompt\tNote\n \tx\n", "line 2 has no prompt"),
    ],
)
def test_what_is_no_file_of_prompts(name: str, text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        prompts.read(saved(tmp_path, name, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}')
    for name in ("latin.jsonl", "none.jsonl"):
        with pytest.raises(UserError, match=f"--prompts .*{name}"):
            prompts.read(tmp_path / name)
