"""One bad item is one skipped item: whatever is wrong with it, however it is packed."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Lock

import numpy as np
import pytest
from PIL import Image

from bench.data import decoding, pixels
from bench.data.sources import Unreadable
from bench.data.sources.listing import PICTURES

from .pictures import encoded, expected, fill, load, pairs, picture, tar

COUNT = 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "cats", COUNT)


def header_of_png(width: int, height: int) -> bytes:
    """A PNG that declares how large it is, and has no more."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + struct.pack(">I", 9)
        + b"IDAT"
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pipe", "it is not a regular file"),
        ("device", "it is not a regular file"),
        ("broken", "it is a link to nothing"),
        ("loop", "it is a link to nothing"),
        ("huge", "it has 13000 x 13000 pixels, more than 67,108,864"),
        ("bomb", "Image size (400000000 pixels) exceeds limit"),
        ("words", "not a known image format"),
        ("avif", ""),
        ("empty", "not a known image format"),
        ("heic", "not a known image format"),
        ("postscript", "not a known image format"),
    ],
)
def test_a_bad_picture_is_skipped_by_its_name(folder: Path, cache: Path, kind: str, message: str) -> None:
    bad = folder / {"heic": "bad.heic", "postscript": "bad.eps"}.get(kind, "bad.jpg")
    if kind == "pipe":
        os.mkfifo(bad)
    elif kind == "device":
        bad.symlink_to("/dev/zero")
    elif kind in ("broken", "loop"):
        bad.symlink_to("nowhere" if kind == "broken" else "bad.jpg")
    else:
        avif = encoded(picture(0), "AVIF")
        bodies = {
            "huge": header_of_png(13_000, 13_000),
            "bomb": header_of_png(20_000, 20_000),
            "words": b"<html>not found</html>",
            "avif": avif[: len(avif) // 2] + bytes(40),
            "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
        }
        bad.write_bytes(bodies.get(kind, b""))
    bad.with_suffix(".txt").write_text("bad")
    loaded = load(folder, cache)
    assert pairs(loaded) == expected(COUNT)
    assert len(loaded.skipped) == 1
    assert loaded.skipped[0].startswith(f"{bad.name}: {message}")


def test_pictures_are_what_their_bytes_are_and_not_their_names(folder: Path, cache: Path) -> None:
    for number, kind, named in (
        (0, "WEBP", ".jpg"),
        (2, "BMP", ".png"),
        (4, "PNG", ".gif"),
        (6, "TIFF", ".jpeg"),
    ):
        options = {"lossless": True} if kind == "WEBP" else {}
        body = io.BytesIO()
        picture(number).save(body, kind, **options)
        (folder / f"{number:03d}.png").unlink()
        (folder / f"{number:03d}{named}").write_bytes(body.getvalue())
    loaded = load(folder, cache)
    assert pairs(loaded) == expected(COUNT)
    assert loaded.skipped == ()


BAD_BYTES = [(b"\xff\xfa caf\xe9", "not"), (b"x" * (1 << 21), "more than the 1,048,576 that are read")]
BAD_JSON = [(b"[" * 100_000, "not JSON"), (b'{"caption": ' + b"9" * 5000 + b"}", "not JSON")]


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [(kind, *bad) for kind in (".txt", ".json", ".caption") for bad in BAD_BYTES]
    + [(".json", *bad) for bad in BAD_JSON],
)
def test_a_bad_caption_is_skipped_by_its_name(
    folder: Path, cache: Path, kind: str, body: bytes, message: str
) -> None:
    (folder / "000.txt").unlink()
    (folder / "000.png").with_suffix(kind).write_bytes(body)
    loaded = load(folder, cache)
    assert len(pairs(loaded)) == COUNT - 1
    (skipped,) = loaded.skipped
    assert skipped.startswith("000.png: its ")
    assert message in skipped


def test_a_caption_that_is_a_pipe_is_none(folder: Path, cache: Path) -> None:
    (folder / "000.txt").unlink()
    os.mkfifo(folder / "000.txt")
    assert load(folder, cache).skipped == ("000.png: it has no caption",)


def test_bad_lines_of_a_table_are_skipped(tmp_path: Path, cache: Path) -> None:
    folder = fill(tmp_path / "cats", COUNT, texts=False)
    rows = [
        json.dumps({"file": p.relative_to(folder).as_posix(), "text": p.name})
        for p in sorted(folder.rglob("*.png"))
    ]
    rows[0] = "[" * 100_000
    rows[1] = '{"file": "002.png", "text": "\\ud800"}'
    (folder / "list.jsonl").write_text("\n".join(rows))
    loaded = load(folder, cache, max_skipped=0.1)
    assert sorted(loaded.skipped) == [
        "000.png: it has no caption",
        "002.png: its caption is not UTF-8",
        "list.jsonl line 1: it is not a JSON object",
    ]
    (folder / "list.jsonl").unlink()
    table = b"file,text\n" + b"".join(
        f"{n},{n}\n".encode() for n in sorted(p.name for p in folder.glob("*.png"))
    )
    (folder / "list.csv").write_bytes(table.replace(b"000.png\n", b"caf\xe9\n"))
    assert "000.png: its caption is not UTF-8" in load(folder, cache, max_skipped=0.9).skipped


def test_names_that_are_no_utf8(folder: Path, cache: Path) -> None:
    name = os.fsencode(folder) + b"/caf\xe9\n"
    Path(os.fsdecode(name + b".png")).write_bytes(encoded(picture(COUNT)))
    Path(os.fsdecode(name + b".txt")).write_text(f"picture number {COUNT}")
    Path(os.fsdecode(name + b"bad.png")).write_bytes(b"")
    loaded = load(folder, cache, max_skipped=0.1)
    assert pairs(loaded) == expected(COUNT + 1)
    assert loaded.skipped == ("caf\\xe9\\nbad.png: it has no caption",)


def test_a_truncated_shard_gives_what_it_has(tmp_path: Path, cache: Path) -> None:
    members = {}
    for i in range(COUNT):
        members |= {f"{i}.png": encoded(picture(i)), f"{i}.txt": f"picture number {i}".encode()}
    whole = tar(tmp_path / "a.tar", members)
    with tarfile.open(whole) as file:
        end = file.getmember("30.txt").offset + 700
    whole.write_bytes(whole.read_bytes()[:end])
    loaded = load(whole, cache, max_skipped=0.1)
    assert len(pairs(loaded)) >= 30
    assert any(s.startswith("a.tar: it is truncated") for s in loaded.skipped)


def test_links_and_sparse_members_of_a_shard(tmp_path: Path, cache: Path) -> None:
    members = {}
    for i in range(COUNT):
        members |= {f"{i}.png": encoded(picture(i)), f"{i}.txt": f"picture number {i}".encode()}
    path = tar(tmp_path / "a.tar", members)
    with tarfile.open(path, "a") as file:
        for name, kind, target in (
            ("soft.png", tarfile.SYMTYPE, "/dev/zero"),
            ("hard.png", tarfile.LNKTYPE, "0.png"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            file.addfile(info)
        info = tarfile.TarInfo("hard.txt")
        info.size = 3
        file.addfile(info, io.BytesIO(b"two"))
    loaded = load(path, cache)
    assert loaded.skipped == ("a.tar/soft.png: it is no regular file",)
    assert pairs(loaded) == expected(COUNT) | {"two": expected(1)["picture number 0"]}


def test_copies_are_one_picture_on_one_side(tmp_path: Path, cache: Path) -> None:
    """Under another name, and in another encoding: one picture with the captions of all."""
    folder = fill(tmp_path / "cats", COUNT)
    once = load(folder, cache)
    for i in range(COUNT):
        (folder / f"z{i}.png").write_bytes(encoded(picture(i)))
        (folder / f"z{i}.txt").write_text(f"copy of {i}")
        (folder / f"y{i}.bmp").write_bytes(encoded(picture(i), "BMP"))
        (folder / f"y{i}.txt").write_text(f"picture number {i}")
    loaded = load(folder, cache)
    assert loaded.notes == ("80 items show a picture that is there already, and add no more than captions",)
    assert len(loaded.train) + len(loaded.validation) == COUNT
    assert {tuple(sorted(c)) for s in (loaded.train, loaded.validation) for c in s.every()} == {
        (f"copy of {i}", f"picture number {i}") for i in range(COUNT)
    }
    for split in (once.train, once.validation):
        assert len({i.tobytes() for i in split.reference}) == len(split)


def test_the_content_names_the_data_and_not_the_files(tmp_path: Path, cache: Path) -> None:
    one = load(fill(tmp_path / "a" / "cats", COUNT), cache)
    folder = tmp_path / "b" / "cats"
    folder.mkdir(parents=True)
    for i in range(COUNT):
        (folder / f"{COUNT - i}.png").write_bytes(encoded(picture(i)))
        (folder / f"{COUNT - i}.caption").write_text(f"picture number {i}")
    assert load(folder, cache).digest == one.digest


GRAY = np.array([[0, 64], [128, 255]], np.uint8).repeat(8, 0).repeat(8, 1)


def gray(image: Image.Image, kind: str, **options: object) -> list[int]:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    found = pixels.decode(buffer.getvalue(), 16)
    assert np.array_equal(found[0], found[1])
    return [int(found[0, y, x]) for y, x in ((3, 3), (3, 12), (12, 3), (12, 12))]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits(kind: str) -> None:
    assert gray(Image.fromarray(GRAY.astype(np.uint16) * 257), kind) == [0, 64, 128, 255]


def test_floats_from_0_to_1() -> None:
    assert gray(Image.fromarray((GRAY / 255).astype(np.float32)), "TIFF") == [0, 64, 128, 255]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "YCbCr", "RGBA"])
def test_modes_of_eight_bits(mode: str) -> None:
    image = Image.fromarray(GRAY).convert("RGB" if mode in ("CMYK", "YCbCr") else "L").convert(mode)
    assert gray(image, "TIFF") == pytest.approx([0, 64, 128, 255], abs=2)


def test_one_bit() -> None:
    assert gray(Image.fromarray(GRAY > 100), "TIFF") == [0, 0, 255, 255]


def test_white_that_is_zero() -> None:
    buffer = io.BytesIO()
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(buffer, "TIFF", tiffinfo={262: 0})
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        written = image.tag_v2[262]
    if written != 0:
        pytest.skip("this Pillow writes its own photometric tag")
    assert pixels.decode(buffer.getvalue(), 16)[0, 3, 3] == 255


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (GRAY.astype(np.int32) * 1000, "white is not known"),
        (GRAY.astype(np.float32), "run from 0 to 255"),
        (np.full((8, 8), np.nan, np.float32), "run from nan to nan"),
    ],
)
def test_pixels_whose_white_is_not_known(values: np.ndarray, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        pixels.decode(encoded(Image.fromarray(values), "TIFF"), 8)


def test_a_large_jpeg_is_read_at_a_fraction_and_no_result_depends_on_the_resolution() -> None:
    large = Image.fromarray(GRAY).resize((4096, 4096), Image.Resampling.NEAREST)
    raw = encoded(large.convert("RGB"), "JPEG")
    assert pixels.decode(raw, 16)[0, 3, 3] == pytest.approx(0, abs=2)
    assert pixels.decode(raw, 16)[0, 12, 12] == pytest.approx(255, abs=2)


def test_every_ending_that_pillow_opens_is_read() -> None:
    Image.init()
    opens = {e for e, kind in Image.registered_extensions().items() if kind in pixels._formats()}
    assert opens <= PICTURES


def test_at_most_a_share_may_be_bad(folder: Path, cache: Path) -> None:
    record = decoding.Record(["k"] * 8, [["c"]] * 8, 1, ["a: bad"], [])
    record.check("x", 0.1)
    with pytest.raises(ValueError, match="1 of 10 items"):
        record.check("x", 0.09)


def test_no_more_than_two_large_pictures_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits for a second one, so two are at work whenever one is; a third would be counted."""
    met, lock, at_work = Barrier(2, timeout=60), Lock(), []

    def square(opened: Image.Image, resolution: int) -> np.ndarray:
        with lock:
            at_work.append(1)
            together = len(at_work)
        met.wait()
        with lock:
            at_work.pop()
        return np.array(together)

    monkeypatch.setattr(pixels, "_LARGE", 1)
    monkeypatch.setattr(pixels, "_square", square)
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(pixels.decode, [encoded(picture(0))] * 40, [8] * 40))
    assert {int(c) for c in counts} <= {1, 2}
