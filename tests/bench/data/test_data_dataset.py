"""Scale, digest, the digits, and what load() refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from bench import data
from bench.data import dataset
from flowbench._core.errors import UserError


@pytest.mark.parametrize("spec", ["shapes", "digits"])
def test_normalized_training_pixels_have_zero_mean_and_unit_deviation(spec: str) -> None:
    loaded = data.load(spec, train=700, validation=50)
    pixels = loaded.train.batch(np.arange(700))
    assert pixels.dtype == torch.float32
    assert pixels.shape == loaded.train.reference.shape
    assert pixels.double().mean().item() == pytest.approx(0, abs=1e-5)
    assert pixels.double().std(correction=0).item() == pytest.approx(1, abs=1e-5)
    scaled = loaded.train.reference.astype(np.float64) / 127.5 - 1
    assert loaded.train.scale.mean == pytest.approx(scaled.mean(), abs=1e-12)
    assert loaded.train.scale.std == pytest.approx(scaled.std(), abs=1e-12)


def test_decode_inverts_rounds_and_clamps() -> None:
    loaded = data.load("shapes", train=100, validation=10)
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    scale = loaded.train.scale
    assert torch.equal(loaded.decode(scale.inputs(every.numpy())), every)
    torch.testing.assert_close(scale.inputs(every.numpy()), (every / 127.5 - 1 - scale.mean) / scale.std)
    odd = torch.tensor([-1e9, 1e9, float("inf"), float("-inf"), float("nan")])
    assert loaded.decode(odd).tolist() == [0, 255, 255, 0, 0]
    step = 1 / 127.5 / scale.std
    near = scale.inputs(np.array([100], np.uint8)) + torch.tensor([0.4 * step, 0.6 * step])
    assert loaded.decode(near).tolist() == [100, 101]


def test_digest_sees_name_images_and_captions() -> None:
    images = np.arange(2 * 64, dtype=np.uint8).reshape(2, 1, 8, 8)
    split = dataset.Split(images, ("a", "b"))
    base = dataset.build("x", (split, split)).digest
    other = images.copy()
    other[1, 0, 7, 7] += 1
    changed = [
        dataset.build("y", (split, split)),
        dataset.build("x", (dataset.Split(other, ("a", "b")), split)),
        dataset.build("x", (dataset.Split(images, ("a", "c")), split)),
    ]
    assert len({base, *(c.digest for c in changed)}) == 4
    assert dataset.build("x", (split, split)).digest == base


def test_digits_are_scikit_learns_with_their_labels() -> None:
    loaded = data.load("digits", resolution=8)
    total = len(loaded.train) + len(loaded.validation)
    assert total == 1797
    assert 180 < len(loaded.validation) < 270
    source = load_digits()
    whole = {
        tuple(np.rint(i * 255 / 16).astype(int).ravel()): t
        for i, t in zip(source.images, source.target, strict=True)
    }
    for split in (loaded.train, loaded.validation):
        for image, caption, label in zip(split.reference, split.captions, split.attributes, strict=True):
            assert whole[tuple(image.astype(int).ravel())] == label
            assert caption.split()[:-1] == ["a", "photo", "of", "the", "digit"]
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert [words.index(c.split()[-1]) for c in loaded.train.captions] == loaded.train.attributes.tolist()


def test_digits_are_upsampled_smoothly() -> None:
    loaded = data.load("digits", resolution=16, train=100, validation=10)
    assert loaded.train.reference.shape == (100, 1, 16, 16)
    small = data.load("digits", resolution=8, train=100, validation=10).train.reference.astype(float)
    pooled = loaded.train.reference.astype(float).reshape(100, 1, 8, 2, 8, 2).mean((3, 5))
    assert np.corrcoef(small.ravel(), pooled.ravel())[0, 1] > 0.98


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("shape", {}, "did you mean 'shapes'"),
        ("imags:x", {}, "did you mean 'images'"),
        ("shapes", {"resolution": 4}, "resolution is 4"),
        ("shapes", {"resolution": 4096}, "resolution is 4096"),
        ("shapes", {"train": 0}, "train is 0"),
        ("digits", {"validation": 0}, "validation is 0"),
        ("images:", {}, "names no path"),
        ("images", {}, "give images:PATH"),
        ("digits:size=2", {}, "digits has no option 'size'"),
    ],
)
def test_bad_requests_name_what_is_wrong(spec: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        data.load(spec, **options)


def test_constant_or_empty_data_is_refused() -> None:
    flat = dataset.Split(np.full((3, 1, 8, 8), 7, np.uint8), ("a", "b", "c"))
    with pytest.raises(UserError, match="one value"):
        dataset.build("flat", (flat, flat))
    empty = dataset.Split(np.zeros((0, 1, 8, 8), np.uint8), ())
    with pytest.raises(UserError, match="no validation images"):
        dataset.build("tiny", (flat, empty))


def test_loading_shapes_imports_no_torch() -> None:
    use = "from bench import data; data.load('shapes', train=9, validation=2)"
    code = f"import sys; {use}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
