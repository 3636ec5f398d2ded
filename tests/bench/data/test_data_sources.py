"""Captions as people have them: each form gives the same pictures with the same captions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import data
from bench.data import sources
from bench.data.sources.places import folders_of, parts_of, resolve
from flowbench._core.errors import UserError

from .pictures import encoded, expected, fill, load, names, pairs, picture

COUNT = 40
NAMES = names(COUNT)
WORDS = [f"picture number {i}" for i in range(COUNT)]
ROWS: list[dict[str, Any]] = [{"file_name": n, "caption": w} for n, w in zip(NAMES, WORDS, strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "set" / "cats", COUNT, texts=False)


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def coco() -> str:
    images = [{"id": 100 + i, "file_name": Path(n).name} for i, n in enumerate(NAMES)]
    notes = [{"id": i, "image_id": 100 + i, "caption": w} for i, w in enumerate(WORDS)]
    return json.dumps({"info": {}, "images": images, "annotations": notes})


def nested(folder: Path) -> None:
    for place in ("", "sub"):
        mine = [r for r in ROWS if str(Path(r["file_name"]).parent) == (place or ".")]
        file = folder / place / "metadata.jsonl"
        file.write_text(lines([{"file_name": Path(r["file_name"]).name, "text": r["caption"]} for r in mine]))


def adjacent(kind: str, text: Callable[[str], str] = lambda words: words) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        for name, words in zip(NAMES, WORDS, strict=True):
            (folder / name).with_suffix(kind).write_text(text(words))

    return write


def table(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


FORMS: dict[str, Callable[[Path], None]] = {
    "json array": table("list.json", json.dumps(ROWS)),
    "json array of several captions": table(
        "list.json", json.dumps([{**r, "caption": [r["caption"]]} for r in ROWS])
    ),
    "json by name": table("list.json", json.dumps(dict(zip(NAMES, WORDS, strict=True)))),
    "sentences": table(
        "dataset.json",
        json.dumps(
            {
                "images": [
                    {"filename": n, "sentences": [{"raw": w}]} for n, w in zip(NAMES, WORDS, strict=True)
                ]
            }
        ),
    ),
    "tsv": table(
        "list.tsv", "image\ttext\n" + "".join(f"{n}\t{w}\n" for n, w in zip(NAMES, WORDS, strict=True))
    ),
    "semicolons": table(
        "list.csv", "image;text\n" + "".join(f"{n};{w}\n" for n, w in zip(NAMES, WORDS, strict=True))
    ),
    "captions.txt with a header": table(
        "captions.txt", "image,caption\n" + "".join(f"{n},{w}\n" for n, w in zip(NAMES, WORDS, strict=True))
    ),
    "captions.txt numbered": table(
        "captions.txt", "".join(f"{n}#0\t{w}\n" for n, w in zip(NAMES, WORDS, strict=True))
    ),
    "absolute paths of another machine": table(
        "list.jsonl", lines([{**r, "file_name": f"/home/me/cats/{r['file_name']}"} for r in ROWS])
    ),
    "Windows paths": table(
        "list.jsonl",
        lines([{**r, "file_name": "C:\\Data\\cats\\" + r["file_name"].replace("/", "\\")} for r in ROWS]),
    ),
    "names without their endings": table(
        "list.csv", "image,text\n" + "".join(f"{n[:-4]},{w}\n" for n, w in zip(NAMES, WORDS, strict=True))
    ),
    "the folder's own name": table(
        "list.jsonl", lines([{**r, "file_name": f"cats/{r['file_name']}"} for r in ROWS])
    ),
    "nested metadata.jsonl": nested,
    ".caption": adjacent(".caption"),
    ".json next to it": adjacent(".json", lambda words: json.dumps({"url": "x", "caption": words})),
    "metadata.parquet": lambda folder: pq.write_table(
        pa.Table.from_pylist(ROWS), folder / "metadata.parquet"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_captions_in_a_folder(folder: Path, cache: Path, form: str) -> None:
    FORMS[form](folder)
    loaded = load(folder, cache)
    assert pairs(loaded) == expected(COUNT)
    assert loaded.skipped == ()


@pytest.mark.parametrize("place", ["cats", "cats/annotations", "annotations", "."])
def test_coco_annotations_next_to_and_below(tmp_path: Path, cache: Path, place: str) -> None:
    folder = tmp_path / "set" / "cats"
    folder.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        (folder / Path(name).name).write_bytes(encoded(picture(i)))
    at = tmp_path / "set" / place
    at.mkdir(exist_ok=True)
    (at / "captions_train2017.json").write_text(coco())
    (at / "instances_train2017.json").write_text('{"images": [], "annotations": [{"bbox": []}]}')
    assert pairs(load(folder, cache)) == expected(COUNT)
    (folder / "000.png").unlink()
    loaded = load(folder, cache)
    assert len(pairs(loaded)) == COUNT - 1
    assert loaded.skipped == ()
    assert loaded.notes == ("1 of the 40 pictures in captions_train2017.json are not in the folder",)


def test_coco_as_it_unpacks(tmp_path: Path, cache: Path) -> None:
    """Two splits with names of their own, annotations between them."""
    for split, numbers in (("train2017", range(10)), ("val2017", range(10, COUNT))):
        (tmp_path / "coco" / split).mkdir(parents=True)
        for i in numbers:
            (tmp_path / "coco" / split / f"{i:012d}.png").write_bytes(encoded(picture(i)))
        images = [{"id": i, "file_name": f"{i:012d}.png"} for i in numbers]
        notes = [{"image_id": i, "caption": w} for i in numbers for w in (WORDS[i], f"again {i}")]
        (tmp_path / "coco" / "annotations").mkdir(exist_ok=True)
        file = tmp_path / "coco" / "annotations" / f"captions_{split}.json"
        file.write_text(json.dumps({"images": images, "annotations": notes}))
    loaded = load(tmp_path / "coco", cache)
    assert len(pairs(loaded)) == 2 * COUNT
    assert len(loaded.train) + len(loaded.validation) == COUNT
    assert pairs(load(tmp_path / "coco" / "val2017", cache)).keys() == {
        c for c in pairs(loaded) if int(c.split()[-1]) > 9
    }


def test_several_captions_of_a_picture_are_one_picture(folder: Path, cache: Path) -> None:
    rows = [f"{n}#{k}\tcaption {k} of {i}\n" for i, n in enumerate(NAMES) for k in range(5)]
    (folder / "captions.txt").write_text("".join(rows))
    loaded = load(folder, cache)
    assert len(loaded.train) + len(loaded.validation) == COUNT
    for split in (loaded.train, loaded.validation):
        for first, several in zip(split.captions, split.every(), strict=True):
            number = first.split()[-1]
            assert several == tuple(f"caption {k} of {number}" for k in range(5))


def test_a_name_is_not_matched_with_a_picture_elsewhere(tmp_path: Path, cache: Path) -> None:
    """Rows of a split that is not there do not take the pictures of the other."""
    folder = tmp_path / "set"
    (folder / "train").mkdir(parents=True)
    for i in range(COUNT):
        (folder / "train" / f"{i}.png").write_bytes(encoded(picture(i)))
    rows = [{"file": f"{s}/{i}.png", "text": f"{s} {i}"} for s in ("train", "test") for i in range(COUNT)]
    (folder / "list.jsonl").write_text(lines(rows))
    loaded = load(folder, cache, max_skipped=0.5)
    assert set(pairs(loaded)) == {f"train {i}" for i in range(COUNT)}
    assert len(loaded.skipped) == COUNT


def test_an_ending_is_left_out_only_where_one_picture_is_meant(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "set", COUNT, texts=False)
    twin = folder / NAMES[0]
    twin.with_suffix(".bmp").write_bytes(encoded(picture(COUNT)))
    table("list.csv", "image,text\n" + "".join(f"{n[:-4]},{w}\n" for n, w in zip(NAMES, WORDS, strict=True)))(
        folder
    )
    loaded = load(folder, cache, max_skipped=0.1)
    assert set(pairs(loaded)) == set(WORDS[1:])
    assert len(loaded.skipped) == 3, "two pictures, and the row that may mean either"


def test_a_table_of_other_pictures_is_named(folder: Path, cache: Path) -> None:
    table("list.csv", "image,text\n" + "".join(f"IMG_{n},{w}\n" for n, w in zip(NAMES, WORDS, strict=True)))(
        folder
    )
    message = f"none of the pictures that list.csv names is there: it has IMG_{NAMES[0]}, and the folder "
    with pytest.raises(UserError, match=re.escape(message)):
        load(folder, cache)


def test_names_and_captions_composed_or_not(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats", 12, texts=False)
    word = "caf\u00e9"
    (folder / "000.png").rename(folder / unicodedata.normalize("NFD", f"{word}.png"))
    rows = [{"file": f"{word}.png", "text": word}]
    rows += [{"file": n, "text": unicodedata.normalize("NFD", word)} for n in names(12)[1:]]
    (folder / "list.jsonl").write_text(lines(rows))
    loaded = load(folder, cache)
    assert {*loaded.train.captions, *loaded.validation.captions} == {word}
    assert loaded.skipped == ()


def test_looking_at_a_spec_stops_at_the_first_picture(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "cats", 40)
    looked = []
    real = sources.find.__globals__["walk"]

    def counted(root: Path) -> Any:
        for found in real(root):
            looked.append(found)
            yield found

    monkeypatch.setitem(sources.check.__globals__, "walk", counted)
    data.get(f"images:{folder}").check()
    assert [Path(name).suffix for name, _ in looked].count(".png") == 1


def test_linked_folders_are_read_once(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "real", 30)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(folder)
    (folder / "loop").symlink_to(tmp_path / "set")
    assert pairs(load(tmp_path / "set", cache)) == expected(30)


WORD = st.sampled_from("abc")
PATHS = st.sets(st.lists(WORD, min_size=1, max_size=3).map("/".join), max_size=8)


@given(PATHS, PATHS, st.sampled_from(["", "/home/me/", "a/", "C:\\data\\", "./"]), st.sampled_from("ab"))
def test_two_names_never_become_one_file(files: set[str], names: set[str], prefix: str, table: str) -> None:
    """Whatever folders a table's names have and lack; a name that is a file's own name means that file, if all are."""
    known = {parts_of(f): f for f in files}
    found = resolve((prefix + n for n in names), known, folders_of(known, f"{table}/list.csv"))
    assert len(set(found.values())) == len(found)
    for name, file in found.items():
        assert parts_of(name)[-1] == parts_of(file)[-1]
    if names <= files and prefix in ("", "/home/me/", "./"):
        assert len(found) == len(names)
