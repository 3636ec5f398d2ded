"""Original and synthetic captions, mixed by a probability."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench import data
from bench.data.caption_mix import picked
from flowbench._core.errors import UserError

from .pictures import encoded, picture

UNIFORM = np.random.default_rng(0).random(40_000)
COUNTS = np.tile([1, 2, 4], 40_000 // 3 + 1)[:40_000]


def shares(mix: float | None, count: int) -> list[float]:
    """How often each caption of an image of so many is taken."""
    found = picked(UNIFORM, COUNTS, mix)[count == COUNTS]
    return (np.bincount(found, minlength=count) / len(found)).tolist()


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.5, 1.0])
def test_another_than_the_first_caption_has_the_probability(mix: float) -> None:
    assert shares(mix, 1) == [1.0]
    assert shares(mix, 2) == pytest.approx([1 - mix, mix], abs=0.01)
    assert shares(mix, 4) == pytest.approx([1 - mix, *[mix / 3] * 3], abs=0.015)


def test_without_it_all_captions_are_drawn_as_they_were() -> None:
    assert np.array_equal(picked(UNIFORM, COUNTS, None), (UNIFORM * COUNTS).astype(int))
    assert shares(None, 4) == pytest.approx([0.25] * 4, abs=0.015)


def test_ends_of_the_interval() -> None:
    edge = np.array([0.0, np.nextafter(1, 0)])
    for mix in (0.0, 1e-12, 0.5, 1.0):
        for count in (1, 2, 3):
            assert set(picked(edge, np.array([count, count]), mix)) <= set(range(count))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures with two captions each, in the columns of a table."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = tmp_path / "pictures"
    made.mkdir()
    lines = ["file_name,caption_0,caption_1"]
    for i in range(40):
        (made / f"{i}.png").write_bytes(encoded(picture(i)))
        lines.append(f"{i}.png,original {i},synthetic {i}")
    (made / "captions.csv").write_text("\n".join(lines))
    return made


def test_a_table_of_two_columns_is_mixed(folder: Path) -> None:
    plain, half = (data.load(f"images:{folder}{option}") for option in ("", ",mix=.5"))
    assert (plain.train.mix, half.train.mix) == (None, 0.5)
    assert plain.train.every() == half.train.every()
    assert all(captions[0].startswith("original") for captions in half.train.every())
    assert data.canonical(f"images:{folder},mix=1") == data.canonical(f"images:{folder},mix=1.0")


ROWS = [{"file_name": f"{i}.png", "caption": f"one {i}", "llava": f"two {i}"} for i in range(40)]


def as_parquet(folder: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "captions.parquet")


def as_packed(folder: Path) -> None:
    """Pictures in the table."""
    rows = [{**row, "image": {"bytes": (folder / row["file_name"]).read_bytes()}} for row in ROWS]
    for file in folder.iterdir():
        file.unlink()
    pq.write_table(pa.Table.from_pylist(rows), folder / "packed.parquet")


def as_csv(folder: Path) -> None:
    lines = [",".join(row.values()) for row in ({k: k for k in ROWS[0]}, *ROWS)]
    (folder / "captions.csv").write_text("\n".join(lines))


def as_json_lines(folder: Path) -> None:
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, ROWS)))


def as_json(folder: Path) -> None:
    (folder / "captions.json").write_text(json.dumps([*ROWS[:-1], {**ROWS[-1], "note": 1}]))


@pytest.mark.parametrize("write", [as_csv, as_json_lines, as_json, as_parquet, as_packed])
def test_a_second_column_is_named(write: Callable[[Path], None], folder: Path) -> None:
    (folder / "captions.csv").unlink()
    write(folder)
    plain = data.load(f"images:{folder}")
    found = data.load(f"images:{folder},mix=.5,second=llava")
    assert plain.train.every() == tuple((captions[0],) for captions in found.train.every())
    assert all(b == a.replace("one", "two") for a, b in found.train.every())
    assert data.load(f"images:{folder}").digest == plain.digest != found.digest
    with pytest.raises(UserError, match=r"no column 'lava'"):
        data.load(f"images:{folder},second=lava")


def test_a_second_column_needs_a_table(folder: Path, tmp_path: Path) -> None:
    (folder / "captions.csv").unlink()
    for i in range(40):
        (folder / f"{i}.txt").write_text("one")
    with pytest.raises(UserError, match="second=llava is a column of a table, and there is no table"):
        data.load(f"images:{folder},second=llava")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder, "")
    with pytest.raises(UserError, match="second=llava is a column of a table, and tar shards have none"):
        data.load(f"images:{tmp_path / 'a.tar'},second=llava")


def test_a_row_may_lack_the_second_caption(folder: Path) -> None:
    (folder / "captions.csv").unlink()
    rows = [row if i % 4 else {k: v for k, v in row.items() if k != "llava"} for i, row in enumerate(ROWS)]
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = data.load(f"images:{folder},second=llava").train.every()
    assert {len(captions) for captions in found} == {1, 2}
    assert all(captions[0].startswith("one") for captions in found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.txt", "\n".join(f"{i}.png\tone" for i in range(40))),
        ("captions.json", json.dumps({"0.png": "one"})),
    ],
)
def test_captions_without_columns_have_no_second(name: str, text: str, folder: Path) -> None:
    (folder / "captions.csv").unlink()
    (folder / name).write_text(text)
    with pytest.raises(UserError, match="has no column 'llava'; found: nothing"):
        data.load(f"images:{folder},second=llava")


def test_mistakes(folder: Path) -> None:
    with pytest.raises(UserError, match=r"mix=1\.5 is a probability"):
        data.load(f"images:{folder},mix=1.5")
    (folder / "captions.csv").write_text(
        "file_name,caption\n" + "\n".join(f"{i}.png,one {i}" for i in range(40))
    )
    with pytest.raises(UserError, match=r"mix=0\.5 needs images with several captions.*caption_0"):
        data.load(f"images:{folder},mix=.5")
