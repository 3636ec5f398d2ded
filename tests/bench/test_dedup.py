"""Near-duplicates among pictures: found by an extractor, drawn, and left out by all that reads the pictures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench import data, dedup, encoders
from bench.data import images
from bench.encoders import Encoder
from flowbench._core.errors import UserError

from .data.pictures import encoded, picture

COUNT, NEAR = 40, (3, 8, 21)


class Coarse:
    """Pixels of a quarter of the edge, without their mean."""

    name, preprocessing, dim = "coarse-1", "mean4", 48

    def image_features(self, pixels: Tensor) -> Tensor:
        found = torch.nn.functional.avg_pool2d(pixels.float(), pixels.shape[-1] // 4).flatten(1)
        return found - found.mean(1, keepdim=True)


@pytest.fixture(autouse=True)
def extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extractor for this module, and a cache of pictures of its own."""

    class Made(Encoder):
        images = True

        def load(self, device: str) -> Coarse:
            return Coarse()

    Made.__module__ = "bench.encoders.coarse"  # no plugin, whose file would be part of the name
    encoders.register("coarse")(lambda: Made())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures, three of them again as JPEG, and one of these a little brighter as a third."""
    made = tmp_path / "set"
    made.mkdir()
    bodies = {f"{i:02d}.png": encoded(smooth(i)) for i in range(COUNT)}
    bodies |= {f"{i:02d}-again.jpg": encoded(smooth(i), "JPEG") for i in NEAR}
    bodies["03-bright.png"] = encoded(smooth(3).point(lambda value: min(255, value + 9)))
    for name, body in bodies.items():
        (made / name).write_bytes(body)
        (made / name).with_suffix(".txt").write_text(f"thing {name}")
    return made


def smooth(number: int) -> Image.Image:
    return picture(number, (4, 4)).resize((32, 32), Image.Resampling.NEAREST)


def key(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def run(folder: Path, out: Path, *more: str) -> int:
    given = [
        "--data",
        f"images:{folder}",
        "--extractor",
        "coarse",
        "--threshold",
        "0.95",
        "--resolution",
        "32",
    ]
    return dedup.main([*given, "--out", str(out), "--device", "cpu", *more])


def test_near_duplicates_are_found_and_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(folder, out) == 0
    assert (
        "4 of 44 pictures are near-duplicates of others, in 3 groups, by coarse-1 at 0.95"
        in capsys.readouterr().out
    )
    groups = {frozenset(map(key, folder.glob(f"{i:02d}[-.]*[!t]"))) for i in NEAR}
    report = json.loads((out / "duplicates.json").read_text())
    assert {frozenset([g["kept"], *(d["key"] for d in g["dropped"])]) for g in report["groups"]} == groups
    assert len(report["groups"][0]["dropped"]) == 2, "the largest first"
    dropped = (out / "drop.txt").read_text().split()
    assert dropped == sorted(k for group in groups for k in sorted(group)[1:]), "the lowest key stays"
    assert all(d["similarity"] > 0.95 for g in report["groups"] for d in g["dropped"])

    whole = data.load(f"images:{folder}", resolution=32)
    left = data.load(f"images:{folder},drop={out / 'drop.txt'}", resolution=32)
    assert (len(whole.train) + len(whole.validation), len(left.train) + len(left.validation)) == (44, 40)
    assert "4 pictures are left out by drop.txt" in left.notes
    for side in ("train", "validation"):
        assert set(getattr(left, side).captions) <= set(getattr(whole, side).captions), "sides stay"
    assert left.digest != whole.digest
    again = tmp_path / "again"
    assert dedup.main(["--data", f"images:{folder},drop={out / 'drop.txt'}", "--extractor", "coarse",
                       "--threshold", "0.95", "--resolution", "32", "--out", str(again)]) == 0  # fmt: skip
    assert (again / "drop.txt").read_text() == ""
    assert not (again / "duplicates.png").exists()


def test_names_and_order_of_files_do_not_matter(folder: Path, tmp_path: Path) -> None:
    assert run(folder, tmp_path / "one") == 0
    for number, file in enumerate(sorted(folder.glob("*[!t]"), reverse=True)):
        words = file.with_suffix(".txt").read_text()
        renamed = file.rename(folder / f"x{number:03d}{file.suffix}")
        renamed.with_suffix(".txt").write_text(words)
        file.with_suffix(".txt").unlink()
    assert run(folder, tmp_path / "other") == 0
    one, other = ((tmp_path / name / "duplicates.json").read_text() for name in ("one", "other"))
    assert one == other


def test_the_sheet_has_a_row_for_each_group(folder: Path, tmp_path: Path) -> None:
    for i in range(COUNT):
        if i not in NEAR:
            (folder / f"{i:02d}-again.jpg").write_bytes(encoded(smooth(i), "JPEG"))
            (folder / f"{i:02d}-again.txt").write_text("again")
    assert run(folder, tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "duplicates.png") as opened:
        sheet = np.asarray(opened.convert("RGB"))
    report = json.loads((tmp_path / "out" / "duplicates.json").read_text())
    assert len(report["groups"]) == COUNT
    report["groups"] = report["groups"][: dedup.SHOWN]
    step = (sheet.shape[0] + 1) // dedup.SHOWN
    for row, group in enumerate(report["groups"]):
        blank = [np.all(sheet[row * step + 5, column * step + 5] == 255) for column in range(dedup.WIDE)]
        assert blank.count(False) == 1 + len(group["dropped"])
    (file,) = (f for f in folder.glob("*[!t]") if key(f) == report["groups"][0]["kept"])
    with Image.open(file) as kept:
        corner = np.asarray(kept.convert("RGB"))[0, 0]
    assert np.array_equal(sheet[0, 0], corner), "what stays comes first"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--threshold", "1.5"], "--threshold 1.5: a cosine lies between"),
        (["--threshold", "nan"], "--threshold nan"),
        (["--data", "shapes"], "are looked for among images:PATH"),
        (["--extractor", "corse"], "did you mean 'coarse'?"),
        (["--extractor", "t5:x"], "has no features of images"),
        (["--data", "images:SET,drop=nowhere"], "drop=nowhere cannot be read"),
        (["--data", "images:SET,drop=SET/00.txt"], "line 1 is no sha256"),
    ],
)
def test_mistakes_are_one_sentence(
    given: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [each.replace("SET", str(folder)) for each in given]
    assert run(folder, tmp_path / "out", *given) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_list_of_other_pictures_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "drop.txt").write_text("0" * 64 + "\n")
    with pytest.raises(UserError, match="names none of these 44 pictures"):
        images.Files(str(folder), tmp_path / "c", drop=tmp_path / "drop.txt").load(
            "", data.builder.Images(32)
        )
    with pytest.raises(UserError, match=r"drop=.* cannot be read"):
        data.get(f"images:{folder},drop={tmp_path / 'none'}").check()
