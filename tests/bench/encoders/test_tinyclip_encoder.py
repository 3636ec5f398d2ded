"""The shipped encoder: what it promises, re-measured on fresh pictures."""

from __future__ import annotations

import json
import math
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from bench.data import Split, load, shapes
from bench.encoders import Extractor, extractor, reads_text, tinyclip_encoder
from bench.encoders.tinyclip_eval import classification, preference, retrieval, shapes_twins
from bench.encoders.tinyclip_model import bicubic
from flowbench._core.errors import UserError

CAPTION = "a small red circle left of a large blue square on white"


@cache
def shipped() -> tinyclip_encoder.TinyCLIP:
    return tinyclip_encoder.load()


@cache
def fresh(world: str, resolution: int) -> tuple[Split, Tensor]:
    """512 pictures far beyond those of training and validation, and their features."""
    what = shapes.scenes(np.arange(10_000_000, 10_000_512), shapes.WORLDS[world])
    split = Split(shapes.render(what, resolution), what.captions(), what.attributes)
    return split, shipped().image_features(torch.from_numpy(split.reference))


def test_the_file_is_small_and_records_how_it_was_made() -> None:
    assert tinyclip_encoder.SHIPPED.stat().st_size < 3_000_000
    recipe = shipped().recipe
    assert recipe["command"].endswith(".tinyclip")
    assert [fact["spec"] for fact in recipe["data"]] == ["shapes", "scenes", "digits"] * 3
    assert all(fact["captions cut"] == 0 for fact in recipe["data"])
    assert "/" not in json.dumps(recipe)  # no path of the machine that trained it
    for resolution in (8, 16, 32):
        held_out = {
            name: recipe["held out"][f"{name} at {resolution}"] for name in ("shapes", "scenes", "digits")
        }
        assert held_out["shapes"]["accuracy among 216 captions"] > 0.97
        assert held_out["scenes"]["R@1 of 256, image to text"] > 0.97
        assert held_out["digits"]["accuracy among 10 captions"] > 0.95


def test_the_recorded_data_is_the_data_of_today() -> None:
    """A changed picture, caption or split needs new weights."""
    for fact in shipped().recipe["data"][:3]:
        counts = {"train": fact["train"], "validation": fact["validation"]}
        assert load(fact["spec"], resolution=fact["resolution"], **counts).digest == fact["digest"]


@pytest.mark.parametrize("world", ["shapes", "scenes"])
@pytest.mark.parametrize("resolution", [16, 32])
def test_it_finds_the_caption_of_fresh_pictures(world: str, resolution: int) -> None:
    split, features = fresh(world, resolution)
    to_text, to_image = retrieval(features, split.captions, shipped().text_features)
    assert to_text > 0.97
    assert to_image > 0.97


@pytest.mark.parametrize("resolution", [16, 32])
@pytest.mark.parametrize(
    ("world", "what"),
    [
        *(("scenes", what) for what in ("colors", "shapes", "sizes", "relation")),
        *(("shapes", what) for what in ("colors", "shapes", "sizes")),
    ],
)
def test_it_binds_words_to_objects(world: str, resolution: int, what: str) -> None:
    split, features = fresh(world, resolution)
    found = preference(features, split.captions, shapes_twins(split.captions)[what], shipped().text_features)
    assert found is not None
    right, gap = found
    assert right > 0.95
    assert gap > 0.1


@pytest.mark.parametrize("resolution", [8, 16, 32])
def test_it_reads_held_out_digits(resolution: int) -> None:
    split = load("digits", resolution=resolution).validation
    features = shipped().image_features(torch.from_numpy(split.reference))
    assert classification(features, split.captions, shipped().text_features) > 0.95


def test_features_have_one_length_and_do_not_depend_on_the_batch() -> None:
    split, features = fresh("scenes", 16)
    images = torch.from_numpy(split.reference)
    clip = shipped()
    assert features.shape == (512, clip.dim)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.norm(dim=1), torch.full((512,), math.sqrt(clip.dim)))
    assert torch.equal(features, clip.image_features(images))
    alone = torch.cat([clip.image_features(image[None]) for image in images[:5]])
    torch.testing.assert_close(alone, features[:5], rtol=0, atol=1e-4)
    torch.testing.assert_close(
        clip.image_features(images[3:8].flip(0)).flip(0), features[3:8], rtol=0, atol=1e-4
    )
    assert clip.image_features(images[:0]).shape == (0, clip.dim)


def test_one_channel_means_three_equal_ones() -> None:
    gray = torch.randint(0, 256, (4, 1, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    clip = shipped()
    torch.testing.assert_close(clip.image_features(gray), clip.image_features(gray.expand(-1, 3, -1, -1)))


def test_the_resize_is_pillows() -> None:
    """Pillow resizes one float32 channel with antialiased bicubic, without rounding."""
    image = torch.randint(0, 256, (1, 1, 45, 57), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    ours = (bicubic(image, 32)[0, 0] + 1) * 127.5
    theirs = Image.fromarray(image[0, 0].numpy().astype(np.float32)).resize(
        (32, 32), Image.Resampling.BICUBIC
    )
    np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), atol=1e-2)


@pytest.mark.parametrize("image", [torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, 8, 8, dtype=torch.uint8)])
def test_other_images_are_refused(image: Tensor) -> None:
    with pytest.raises(UserError, match="must be uint8"):
        shipped().image_features(image)


def test_encoded_text() -> None:
    clip = shipped()
    captions = [CAPTION, "a photo of the digit seven", CAPTION, ""]
    tokens, pooled = clip.encode_text(captions)
    assert tokens.shape == (4, clip.tokens, clip.width)
    assert pooled.shape == (4, clip.dim)
    assert tokens.dtype == pooled.dtype == torch.float32
    assert not tokens.requires_grad
    words = [12, 6, 12, 0]
    for row, count in zip(tokens, words, strict=True):
        assert (row[count:] == 0).all()
        if count == 0:
            continue
        torch.testing.assert_close(row[:count].mean(1), torch.zeros(count), rtol=0, atol=1e-4)
        torch.testing.assert_close(row[:count].std(1, correction=0), torch.ones(count), rtol=0, atol=1e-3)
    assert torch.equal(tokens[0], tokens[2])
    assert torch.isfinite(pooled).all()
    assert all(torch.equal(a, b) for a, b in zip((tokens, pooled), clip.encode_text(captions), strict=True))
    assert torch.equal(clip.text_features(captions), pooled)
    torch.testing.assert_close(clip.encode_text([CAPTION])[0][0], tokens[0], rtol=0, atol=1e-5)
    assert clip.encode_text([])[0].shape == (0, clip.tokens, clip.width)


def test_foreign_captions_are_refused() -> None:
    clip = shipped()
    assert clip.unknown_words([CAPTION]) == 0
    assert clip.unknown_words(["a red zebra and", "a circle"]) == pytest.approx(2 / 6)
    clip.require_vocabulary([CAPTION] * 5 + ["a zebra"], "shapes")
    with pytest.raises(
        UserError, match=r"67% of the words of images:zoo are unknown.*--data images:zoo --out"
    ):
        clip.require_vocabulary(["a grazing zebra"], "images:zoo")


def test_it_is_the_default_extractor_under_a_name_of_its_weights(tmp_path: Path) -> None:
    clip: Extractor = extractor("tinyclip")
    assert isinstance(clip, Extractor)
    assert reads_text(clip)
    assert clip.name == shipped().name
    copy = tmp_path / "copy.safetensors"
    shutil.copy(tinyclip_encoder.SHIPPED, copy)
    assert extractor(f"tinyclip:{copy}").name == clip.name


def test_loading_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tinyclip_encoder.load()
    assert torch.equal(torch.rand(3), expected)


def test_files_that_are_no_tinyclip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    with pytest.raises(UserError, match="no tinyclip weights at"):
        tinyclip_encoder.load(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(UserError, match="no readable safetensors"):
        tinyclip_encoder.load(path)
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(UserError, match="holds no tinyclip"):
        tinyclip_encoder.load(path)
    header = {**tinyclip_encoder.read_header(tinyclip_encoder.SHIPPED), "format": 99}
    save_file({"x": torch.zeros(2)}, path, metadata={"tinyclip": json.dumps(header)})
    with pytest.raises(UserError, match="format 99"):
        tinyclip_encoder.load(path)
    header["format"] = tinyclip_encoder.FORMAT
    save_file({"x": torch.zeros(2)}, path, metadata={"tinyclip": json.dumps(header)})
    with pytest.raises(UserError, match="damaged"):
        tinyclip_encoder.load(path)
