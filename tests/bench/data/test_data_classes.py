"""Folders of classes: captions made of their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowbench._core.errors import UserError

from .pictures import encoded, load, pairs, picture

COUNT = 40


def classes(folder: Path, labels: list[str]) -> Path:
    for i in range(COUNT):
        at = folder / labels[i % len(labels)]
        at.mkdir(parents=True, exist_ok=True)
        (at / f"{i}.JPEG").write_bytes(encoded(picture(i)))
    return folder


def test_class_folders(tmp_path: Path, cache: Path) -> None:
    folder = classes(
        tmp_path / "dogs", ["train/golden_retriever", "train/001.Black_lab", "test/golden_retriever"]
    )
    loaded = load(folder, cache)
    assert set(pairs(loaded)) == {"a photo of a golden retriever", "a photo of a Black lab"}
    assert loaded.notes == (
        "the captions are made of the names of 2 folders: 'a photo of a Black lab', ...",
        "the splits test, train are read as one set, and divided anew by the pictures' content",
    )


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n"),
        ("classes.json", '{"n01440764": ["tench", "Tinca tinca"], "n01443537": "goldfish"}'),
    ],
)
def test_imagenets_folders_and_names(tmp_path: Path, cache: Path, file: str, text: str, above: bool) -> None:
    folder = classes(tmp_path / "train", ["n01440764", "n01443537"])
    with pytest.raises(UserError, match=r"WordNet's numbers \(n01440764.*LOC_synset_mapping.txt"):
        load(folder, cache)
    ((tmp_path if above else folder) / file).write_text(text)
    loaded = load(folder, cache)
    tench = ("a photo of a tench", "a photo of a Tinca tinca")
    assert set(loaded.train.every()) == {tench, ("a photo of a goldfish",)}


def test_folders_that_name_no_class_are_no_classes(tmp_path: Path, cache: Path) -> None:
    folder = classes(tmp_path / "set", ["train", "val"])
    (folder / "captions.xml").write_text("<x/>")
    with pytest.raises(
        UserError, match=r"no picture has a caption; it holds 40 .jpeg, 1 .xml; read are a .txt"
    ):
        load(folder, cache)
