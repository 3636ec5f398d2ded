"""Your own images: folders with .txt, CSV or JSONL, tar shards, the cache, and what is skipped."""

from __future__ import annotations

import csv
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import data
from bench.data import images, pixels, sources
from flowbench._core.errors import UserError

from .pictures import encoded, expected, fill, load, names, pairs, picture, shard


def test_folder_with_text_files(tmp_path: Path, cache: Path) -> None:
    loaded = load(fill(tmp_path / "cats"), cache)
    assert loaded.name == "images:cats"
    assert loaded.train.reference.shape[1:] == (3, 8, 8)
    assert loaded.train.attributes is None
    assert pairs(loaded) == expected(40)
    assert loaded.skipped == ()


@pytest.mark.parametrize(
    "columns", [("file", "caption"), ("image", "text"), ("File_Name", " Caption"), ("path", "text")]
)
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_folder_with_a_table(tmp_path: Path, cache: Path, columns: tuple[str, str], kind: str) -> None:
    folder = fill(tmp_path / "cats", texts=False)
    rows = [
        dict(zip(columns, (name, f"picture number {i}"), strict=True)) for i, name in enumerate(names(40))
    ]
    with (folder / f"list.{kind}").open("w", newline="") as file:
        if kind == "csv":
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    assert pairs(load(folder, cache)) == expected(40)


def test_table_without_the_columns_lists_what_it_has(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats", texts=False)
    (folder / "a.csv").write_text("file,words\n000.png,hello\n")
    with pytest.raises(UserError, match=r"no column 'caption'.*found: file, words"):
        load(folder, cache)
    (folder / "b.csv").write_text("file,caption\n")
    with pytest.raises(UserError, match=r"several tables \(a.csv, b.csv\)"):
        load(folder, cache)


def test_captions_with_commas_quotes_and_line_breaks(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats", texts=False)
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows(
            [("file", "caption"), *((n, f'cat, "{i}"\u2028\nasleep') for i, n in enumerate(names(40)))]
        )
    assert set(pairs(load(folder, cache))) == {f'cat, "{i}" asleep' for i in range(40)}


def test_rows_that_lead_nowhere_are_skipped_and_named(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats")
    lines = ['{"file": "gone.png", "caption": "x"}', "not json", '{"file": "000.png", "caption": 5}']
    (folder / "list.jsonl").write_text("\n".join(lines))
    loaded = load(folder, cache, max_skipped=0.1)
    assert sorted(loaded.skipped) == [
        "000.png: its caption is no text",
        "gone.png: named in list.jsonl, but not in the folder",
        "list.jsonl line 2: it is not a JSON object",
    ]
    assert len(pairs(loaded)) == 39


@pytest.mark.parametrize("suffix", ["txt", "json"])
def test_tar_shards_by_file_folder_and_pattern(tmp_path: Path, cache: Path, suffix: str) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    for n in range(3):
        shard(folder / f"part-{n:02d}.tar", range(20 * n, 20 * n + 20), suffix)
    whole = load(folder, cache)
    assert pairs(whole) == expected(60)
    assert whole.name == "images:tars"
    for pattern in ("part-*.tar", "part-{00..02}.tar", "part-{00,01,02}.tar"):
        assert load(folder / pattern, cache).digest == whole.digest
    assert pairs(load(folder / "part-{00..01}.tar", cache)) == expected(40)
    one = load(folder / "part-00.tar", cache)
    assert pairs(one) == expected(20)
    assert set(one.validation.captions) <= set(whole.validation.captions)  # a new shard moves nothing


def test_braces_expand() -> None:
    assert sources.expand_braces("a{08..10}") == ["a08", "a09", "a10"]
    assert sources.expand_braces("{x,y}{1..2}") == ["x1", "x2", "y1", "y2"]
    assert sources.expand_braces("plain{1}") == ["plain{1}"]


def test_adding_images_moves_no_other(tmp_path: Path, cache: Path) -> None:
    before = load(fill(tmp_path / "cats", 60), cache)
    after = load(fill(tmp_path / "cats", 90), cache)
    assert set(before.validation.captions) < set(after.validation.captions)
    assert set(before.train.captions) < set(after.train.captions)
    assert before.digest != after.digest


def test_corrupt_and_captionless_items_are_skipped_up_to_the_share(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats", 40)
    (folder / "000.png").write_bytes(b"no image at all")
    (folder / "002.txt").write_text("  \n")
    loaded = load(folder, cache)  # 2 of 40 is exactly 5 %
    assert loaded.skipped == ("000.png: not a known image format", "002.png: its caption is empty")
    assert len(loaded.train) + len(loaded.validation) == 38
    whole = (folder / "004.png").read_bytes()
    (folder / "004.png").write_bytes(whole[: len(whole) // 2])
    (folder / "006.txt").unlink()
    with pytest.raises(UserError, match=r"4 of 40 items .*at most 5.0% may.*000.png.*002.png.*004.png"):
        load(folder, cache)
    assert len(load(folder, cache, max_skipped=0.1).skipped) == 4
    with pytest.raises(UserError, match="4 of 40 items"):
        load(folder, cache)  # the limit holds for what is cached too


def test_pictures_are_decoded_into_a_numpy_file_and_read_from_it(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats")
    (folder / "000.png").write_bytes((folder / "002.png").read_bytes())
    loaded = load(folder, cache)
    (file,) = cache.glob("*.npy")
    whole, buffer = np.load(file), io.BytesIO()
    np.save(buffer, whole)
    assert file.read_bytes() == buffer.getvalue(), "the header counts the distinct pictures"
    assert len(whole) == len(loaded.train) + len(loaded.validation) == 39
    assert isinstance(loaded.train.reference.array, np.memmap)
    assert sorted(i.tobytes() for s in (loaded.train, loaded.validation) for i in s.reference[:]) == sorted(
        i.tobytes() for i in whole
    )


def test_second_load_does_not_decode(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "cats")
    first = load(folder, cache)
    calls: list[int] = []
    real = pixels.decode

    def counted(raw: bytes, resolution: int) -> np.ndarray:
        calls.append(1)
        return real(raw, resolution)

    monkeypatch.setattr(pixels, "decode", counted)
    assert load(folder, cache).digest == first.digest
    assert not calls
    assert sorted(p.suffix for p in cache.iterdir()) == [".json", ".npy"]
    os.utime(folder / "000.png", ns=(1, 1))
    load(folder, cache)
    assert len(calls) == 40
    load(folder, cache, resolution=9)
    assert len(calls) == 80


def test_of_several_loads_at_once_one_decodes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, began = fill(tmp_path / "cats"), []
    real = images.decode_all

    def decode(*given: Any) -> Any:
        began.append(given)
        return real(*given)

    monkeypatch.setattr(images, "decode_all", decode)
    with ThreadPoolExecutor(3) as pool:
        digests = {loaded.digest for loaded in pool.map(lambda _: load(folder, cache), range(3))}
    assert (len(began), len(digests)) == (1, 1)


def test_a_damaged_cache_is_made_anew(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats")
    first = load(folder, cache)
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert load(folder, cache).digest == first.digest


def test_the_cache_follows_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    data.load(f"images:{fill(tmp_path / 'cats')}", resolution=8)
    assert len(list((tmp_path / "xdg/flowbench").iterdir())) == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cats/000.png"))
    with pytest.raises(UserError, match="cannot be written"):
        data.load(f"images:{tmp_path / 'cats'}", resolution=9)


def test_the_size_of_the_cache_is_known_before_anything_is_decoded(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats")
    builder = images.Files(str(folder), cache)
    assert builder.cache_bytes(8) == 40 * 3 * 8 * 8
    assert not cache.exists()
    load(folder, cache)
    (made,) = cache.glob("*.npy")
    assert made.stat().st_size == 40 * 3 * 8 * 8 + 128, "with a header"
    assert (builder.cache_bytes(8), builder.cache_bytes(16)) == (0, 40 * 3 * 16 * 16)


def test_transparency_lies_on_white_and_the_centre_is_cropped() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert np.all(pixels.decode(encoded(clear), 8) == 255)
    half = Image.new("RGBA", (20, 20), (255, 0, 0, 128))
    assert pixels.decode(encoded(half), 8)[:, 4, 4].tolist() == pytest.approx([255, 127, 127], abs=1)
    wide = Image.new("RGB", (60, 20), "blue")
    wide.paste("red", (20, 0, 40, 20))
    assert np.all(pixels.decode(encoded(wide), 8) == np.array([255, 0, 0])[:, None, None])


def test_other_modes_become_rgb() -> None:
    for mode in ("L", "1", "P", "CMYK", "LA"):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        assert pixels.decode(encoded(picture(0).convert(mode), kind), 8).shape == (3, 8, 8)
    deep = Image.fromarray(np.full((9, 9), 257 * 100, np.uint16))
    assert np.all(pixels.decode(encoded(deep), 8) == 100)


def test_resizing_is_antialiased_and_upright() -> None:
    lines = np.zeros((64, 64, 3), np.uint8)
    lines[:, ::2] = 255  # one-pixel stripes must become gray, not black or white
    assert np.all(np.abs(pixels.decode(encoded(Image.fromarray(lines)), 8).astype(int) - 127) < 12)
    turned = Image.new("RGB", (16, 16), "white")
    turned.paste("black", (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif, quality=95)
    upright = pixels.decode(buffer.getvalue(), 8)
    assert upright[:, :3].min() > 200
    assert upright[:, 5:].max() < 55


def test_missing_empty_and_odd_places_are_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.md").write_text("x")
    (tmp_path / "bad.tar").write_bytes(b"x" * 2000)
    cut = shard(tmp_path / "cut.tar", range(30))
    cut.write_bytes(cut.read_bytes()[:9000])
    for name, message in {
        "empty": "holds no images",
        "emty": "did you mean 'empty'",
        "no/where": "no such file or folder",
        "note.md": "neither a folder nor an uncompressed .tar",
        "*.tgz": "matches no file",
        "*.md": "matches note.md",
        "bad.tar": "no tar file",
        "cut.tar": "truncated",
    }.items():
        with pytest.raises(UserError, match=message):
            load(tmp_path / name, cache)
    both = fill(tmp_path / "both")
    shard(both / "a.tar", range(3))
    with pytest.raises(UserError, match="both images and tar shards"):
        load(both, cache)
    assert not cache.exists() or not list(cache.iterdir())


def test_two_images_are_too_few(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=r"no (validation|training) images"):
        load(fill(tmp_path / "cats", 1), cache)
