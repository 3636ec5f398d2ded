"""Files that hold many pictures: Hugging Face's, and tar shards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data.sources import arrow
from flowbench._core.errors import UserError

from .pictures import encoded, expected, load, pairs, picture, tar

COUNT = 40
WORDS = [f"picture number {i}" for i in range(COUNT)]
FEATURES = {"info": {"features": {"label": {"names": ["cat", "big_dog"], "_type": "ClassLabel"}}}}


def hugging(kind: str) -> pa.Table:
    pictures = [{"bytes": encoded(picture(i)), "path": None} for i in range(COUNT)]
    if kind == "labels":
        table = pa.table({"image": pictures, "label": [i % 2 for i in range(COUNT)]})
        return table.replace_schema_metadata({"huggingface": json.dumps(FEATURES)})
    if kind == "numbered":
        return pa.table({"image": pictures, "caption_0": WORDS, "caption_1": [w.upper() for w in WORDS]})
    if kind == "of shards":
        return pa.table({"__key__": WORDS, "jpg": [p["bytes"] for p in pictures], "txt": WORDS})
    words = [[w] for w in WORDS] if kind == "lists" else WORDS
    return pa.table({"image": pictures, "text": words, "id": list(range(COUNT))})


@pytest.mark.parametrize("kind", ["texts", "lists", "numbered", "labels", "of shards"])
@pytest.mark.parametrize("form", ["parquet", "save_to_disk"])
def test_hugging_faces_files(tmp_path: Path, cache: Path, kind: str, form: str) -> None:
    folder, rows = tmp_path / "set", hugging(kind)
    (folder / "train").mkdir(parents=True)
    if form == "parquet":
        pq.write_table(rows, folder / "train" / "train-00000-of-00001.parquet", row_group_size=7)
    else:
        (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
        for name in ("data-00000-of-00001.arrow", "cache-0123.arrow"):
            with pa.ipc.new_stream(folder / "train" / name, rows.schema) as writer:
                writer.write_table(rows, max_chunksize=9)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (folder / "train" / "state.json").write_text(json.dumps(state))
    loaded = load(folder, cache)
    assert len(loaded.train) + len(loaded.validation) == COUNT
    if kind == "labels":
        assert set(pairs(loaded)) == {"a photo of a cat", "a photo of a big dog"}
    else:
        assert {c: p for c, p in pairs(loaded).items() if c.islower()} == expected(COUNT)
    assert loaded.skipped == ()
    assert loaded.notes == ()


def test_memory_holds_a_part_of_a_group_of_rows(tmp_path: Path) -> None:
    """A parquet file may be one group, 40 MB here; its pages, of 1,024 rows by pyarrow, are read whole."""
    random = np.random.default_rng(0)
    bodies = [random.bytes(2_500) for _ in range(16_000)]
    table = pa.table(
        {"image": [{"bytes": body, "path": None} for body in bodies], "text": ["a"] * len(bodies)}
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=len(bodies))
    del table
    items, _ = arrow.read(tmp_path / "a.parquet")
    before, most = pa.total_allocated_bytes(), 0
    for item, body in zip(items, bodies, strict=True):
        assert item.read() == body
        most = max(most, pa.total_allocated_bytes() - before)
    assert 0 < most < 10e6


def test_rows_are_read_in_any_order_and_of_many_files(tmp_path: Path) -> None:
    """Threads do not wait for one another, and no more files are open than :data:`arrow.OPEN`."""
    rows = hugging("texts")
    items = []
    for k in range(2 * arrow.OPEN):
        pq.write_table(rows, tmp_path / f"{k}.parquet", row_group_size=7)
        items += [(i, item) for i, item in enumerate(arrow.read(tmp_path / f"{k}.parquet")[0])]
    for place in np.random.default_rng(0).permutation(len(items)):
        number, item = items[place]
        assert item.read() == encoded(picture(number))
    assert len(arrow.Parquet._open) <= arrow.OPEN


def test_a_damaged_group_of_rows_takes_no_other_with_it(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(hugging("texts"), file, row_group_size=10, compression="none", use_dictionary=False)
    column = pq.ParquetFile(file).metadata.row_group(1).column(0)
    raw = bytearray(file.read_bytes())
    raw[column.data_page_offset : column.data_page_offset + 12] = b"\xff" * 12
    file.write_bytes(raw)
    loaded = load(file, cache, max_skipped=0.3)
    assert pairs(loaded) == {w: p for w, p in expected(COUNT).items() if int(w.split()[-1]) // 10 != 1}
    assert [s.split(":")[0] for s in loaded.skipped] == [f"a.parquet row {i}" for i in range(11, 21)]


@pytest.mark.parametrize("form", ["parquet", "folders"])
def test_splits_are_one_set_which_is_said(tmp_path: Path, cache: Path, form: str) -> None:
    names = {"parquet": "data/{}-00000-of-00001.parquet", "folders": "{}/a.parquet"}
    for split, part in (("train", slice(0, 30)), ("test", slice(30, COUNT))):
        file = tmp_path / "set" / names[form].format(split)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(hugging("texts").slice(part.start, part.stop - part.start), file)
    loaded = load(tmp_path / "set", cache)
    assert pairs(loaded) == expected(COUNT)
    assert loaded.notes == (
        "the splits test, train are read as one set, and divided anew by the pictures' content",
    )


def test_parquet_without_captions_or_damaged_names_what_it_has(tmp_path: Path, cache: Path) -> None:
    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "a"}], "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match=r"a.parquet: it cannot be read.*no column 'caption'.*found: image, id"
    ):
        load(tmp_path / "a.parquet", cache)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"a.parquet: it cannot be read as parquet"):
        load(tmp_path, cache)


def test_shards_of_both_conventions_lose_nothing(tmp_path: Path, cache: Path) -> None:
    """Dots in names: the whole name pairs first, WebDataset's key (up to the first dot) next."""
    members = {}
    for i in range(20):
        members |= {f"img_v1.{i:04d}.JPG": encoded(picture(i)), f"img_v1.{i:04d}.txt": WORDS[i].encode()}
    for i in range(20, 40):
        members |= {f"a.b/{i}.photo.jfif": encoded(picture(i)), f"a.b/{i}.txt": WORDS[i].encode()}
        members |= {f"a.b/{i}.seg.png": encoded(picture(100 + i))}
    loaded = load(tar(tmp_path / "a.tar", members), cache)
    assert pairs(loaded) == expected(40)
    assert loaded.notes == ("20 further pictures of samples in a.tar are left out",)


def test_captions_without_a_picture_in_a_shard_are_counted(tmp_path: Path, cache: Path) -> None:
    members = {f"{i}.png": encoded(picture(i)) for i in range(30)} | {
        f"{i}.txt": WORDS[i].encode() for i in range(31)
    }
    assert load(tar(tmp_path / "a.tar", members), cache).skipped == (
        "a.tar/30: it has a caption, but no picture",
    )
