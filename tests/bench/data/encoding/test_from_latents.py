"""Latents that others have encoded: every value, label and side as it was stored, and damage in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench import data, encode
from bench.data import latent_store
from bench.data.held_out import hash_split

from ...autoencoders import save_kl
from . import stored

SCALING, SHIFT = 0.25, 0.5


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kl(tmp_path_factory.mktemp("vae") / "vae", scaling_factor=SCALING, shift_factor=SHIFT)


def run(source: Path, vae: Path, out: Path, *more: str) -> int:
    given = ["--latents", str(source), "--autoencoder", str(vae), "--out", str(out), "--device", "cpu"]
    return encode.main([*given, *more])


def converted(source: Path, vae: Path, out: Path, *more: str) -> data.Dataset:
    assert run(source, vae, out, *more) == 0
    assert encode.main(["--check", str(out)]) == 0
    return data.load(f"encoded:{out}", resolution=16)


def values(split: data.Split) -> NDArray[np.float32]:
    return split.stored[np.arange(len(split))].astype(np.float32)


def by_caption(found: data.Dataset) -> tuple[NDArray[np.float32], list[str]]:
    parts = [values(split) for split in (found.train, found.validation)]
    return np.concatenate(parts), [*found.train.captions, *found.validation.captions]


def check_rows(found: data.Dataset, keys: list[str], raw: NDArray[np.float32], names: list[str]) -> None:
    """All rows on the side of their keys' hash, in the source's order, scaled as diffusers describes it."""
    sides = hash_split(keys, len(keys), len(keys))
    assert all(sides)
    latents, captions = by_caption(found)
    order = [*sides[0], *sides[1]]
    np.testing.assert_allclose(latents, (raw[order] - SHIFT) * SCALING, atol=2e-3)
    assert captions == [names[row] for row in order]


EDM2 = [f"00000/img-mean-std-{row:08d}.npy" for row in range(stored.COUNT)]
CLASSES = [f"class {number}" for number in stored.classes()]


@pytest.mark.parametrize(
    "write", [stored.edm2_folder, lambda folder: stored.edm2_zip(folder.with_suffix(".zip"))]
)
def test_means_of_edm2(write: Callable[[Path], Path], vae: Path, tmp_path: Path) -> None:
    found = converted(write(tmp_path / "latents"), vae, tmp_path / "out")
    check_rows(found, EDM2, stored.means(), CLASSES)
    whole, _ = by_caption(found)
    assert found.train.scale.std == pytest.approx(float(values(found.train).std()), rel=1e-4)
    assert whole.shape == (stored.COUNT, *stored.SHAPE)


def test_held_out_images_are_decoded_latents(vae: Path, tmp_path: Path) -> None:
    found = converted(stored.edm2_zip(tmp_path / "a.zip"), vae, tmp_path / "out")
    rows = np.arange(len(found.validation))
    decoded = found.decode(found.validation.batch(rows)).int().numpy()
    images = found.validation.reference[rows]
    assert images.shape == (len(rows), 3, 16, 16)
    assert np.abs(decoded - images).max() <= 1
    assert latent_store.read_index(tmp_path / "out").recipe.reference == "decoded"


def test_a_sample_of_edm2_has_its_deviation(vae: Path, tmp_path: Path) -> None:
    source = stored.edm2_zip(tmp_path / "a.zip")
    mean = converted(source, vae, tmp_path / "mean")
    sample, again = (converted(source, vae, tmp_path / name, "--posterior", "sample") for name in "ab")
    assert sample.digest == again.digest != mean.digest
    order = hash_split(EDM2, 99, 99)
    wide = stored.deviations()[[*order[0], *order[1]]] * SCALING
    noise = (by_caption(sample)[0] - by_caption(mean)[0]) / wide
    assert abs(float(noise.mean())) < 0.05
    assert float(noise.std()) == pytest.approx(1, abs=0.05)


def test_distributions_of_edm2(vae: Path, tmp_path: Path) -> None:
    source = stored.edm2_zip(tmp_path / "a.zip")
    found = converted(source, vae, tmp_path / "both", "--posterior", "mean+std")
    assert np.array_equal(by_caption(found)[0], by_caption(converted(source, vae, tmp_path / "mean"))[0])
    rows = np.arange(len(found.train))
    wide = stored.deviations()[hash_split(EDM2, 99, 99)[0]] * SCALING
    np.testing.assert_allclose(found.train.spread(rows) * found.train.scale.std, wide, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_shards_of_lightningdit(
    dtype: torch.dtype, vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored.lightningdit(tmp_path / "latents", dtype)
    found = converted(source, vae, tmp_path / "out")
    said = capsys.readouterr().out
    assert "latents_stats.pt is a pickle and is not read" in said
    assert "--flips trains on them" in said
    files = ["latents_rank00_shard000.safetensors"] * 25 + ["latents_rank00_shard001.safetensors"] * 15
    keys = [f"{file} {row - 25 * (row >= 25)}" for row, file in enumerate(files)]
    check_rows(found, keys, torch.from_numpy(stored.means()).to(dtype).float().numpy(), CLASSES)


def test_flips_train_and_are_not_held_out(vae: Path, tmp_path: Path) -> None:
    source = stored.lightningdit(tmp_path / "latents")
    plain, both = (converted(source, vae, tmp_path / f"o{n}", *["--flips"][:n]) for n in (0, 1))
    count = len(plain.train)
    assert np.array_equal(values(both.train)[:count], values(plain.train))
    assert np.array_equal(values(both.train)[count:], values(plain.train)[..., ::-1])
    assert both.train.captions == plain.train.captions * 2
    assert np.array_equal(values(both.validation), values(plain.validation))


@pytest.mark.parametrize("compression", [None, "zstd:7"])
def test_eight_bits_over_the_range_that_is_given(
    compression: str | None, vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    levels, columns = stored.eight_bits(6.0)
    source = stored.mds(tmp_path / "mds", columns, compression)
    found = converted(source, vae, tmp_path / "out", "--range", "6")
    said = capsys.readouterr().out
    keys = [f"shard.{row // 16:05d}.mds {row % 16}" for row in range(stored.COUNT)]
    raw = (levels / 255 - 0.5) * 6
    check_rows(found, keys, raw, [f"a photo of a thing {number}" for number in stored.classes()])
    assert {each[1:] for each in found.train.every()} == {(f"a photo of a item {n}",) for n in range(3)}
    ends = np.mean((levels == 0) | (levels == 255), axis=(1, 2, 3))[hash_split(keys, 99, 99)[0]].mean()
    assert f"{ends:.2%} of the values of the first shard lie at an end" in said
    std = found.train.scale.std
    assert f"deviation {std:.3f}, where" in said
    assert f"(deviation {std * 4:.3f} with 24, {std * 28 / 6:.3f} with 28)" in said
    other = converted(source, vae, tmp_path / "other", "--range", "12", "--columns", "label=label")
    assert other.train.scale.std == pytest.approx(2 * std, rel=1e-2)
    assert other.train.captions[0].startswith("class ")


@pytest.mark.parametrize(
    ("encoding", "size", "kind"),
    [
        ("np16", None, np.float16),
        ("bytes", None, np.float16),
        ("bytes", None, np.float32),
        ("ndarray:float32:4,8,8", 1024, np.float32),
        ("ndarray:float16", None, np.float16),
        ("ndarray", None, np.float32),
    ],
)
def test_columns_of_floats(encoding: str, size: int | None, kind: type, vae: Path, tmp_path: Path) -> None:
    raw = stored.means().astype(kind)
    codes = {np.float16: 18, np.float32: 34}
    head = b"" if encoding != "ndarray" else bytes([codes[kind]])
    head += b"" if size or not encoding.startswith("ndarray") else bytes([3 << 2, *stored.SHAPE])
    columns: stored.Columns = {
        "latents_512": (encoding, size, [head + each.tobytes() for each in raw]),
        "words": ("str", None, [f"a  thing {row}".encode() for row in range(stored.COUNT)]),
        "label": ("int64", 8, [np.int64(each).tobytes() for each in stored.classes()]),
    }
    source = stored.mds(tmp_path / "mds", columns)
    chosen = ["--columns", "latents=latents_512", "caption=words"]
    found = converted(source, vae, tmp_path / "out", *chosen)
    keys = [f"shard.{row // 16:05d}.mds {row % 16}" for row in range(stored.COUNT)]
    check_rows(found, keys, raw.astype(np.float32), [f"a thing {row}" for row in range(stored.COUNT)])
    numbered = converted(source, vae, tmp_path / "label", *chosen[:2], "label=label")
    assert by_caption(numbered)[1] == [f"class {each}" for each in _order(keys, stored.classes())]


def _order(keys: list[str], things: list[int]) -> list[int]:
    sides = hash_split(keys, 99, 99)
    return [things[row] for row in (*sides[0], *sides[1])]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "n01440764 tench, Tinca tinca\nn01443537 goldfish\nn01484850 great_white\n"),
        ("names.txt", "tench, Tinca tinca\ngoldfish\ngreat white\n"),
        ("names.json", json.dumps(["tench, Tinca tinca", "goldfish", "great white"])),
        (
            "names.json",
            json.dumps({"0": ["n1", "tench, Tinca tinca"], "1": "goldfish", "2": ["n3", "great_white"]}),
        ),
    ],
)
def test_classes_have_names(name: str, text: str, vae: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    source = stored.edm2_zip(tmp_path / "a.zip")
    found = converted(source, vae, tmp_path / "out", "--classes", str(tmp_path / name))
    all_names = [("a photo of a tench", "a photo of a Tinca tinca"), ("a photo of a goldfish",)]
    all_names.append(("a photo of a great white",))
    every = [*found.train.every(), *found.validation.every()]
    assert every == [all_names[each] for each in _order(EDM2, stored.classes())]


def test_scaled_latents_stay_as_they_are(
    vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = stored.lightningdit(tmp_path / "latents")
    found = converted(source, vae, tmp_path / "out", "--scaled")
    count = len(found.train)
    keys = [f"latents_rank00_shard{row // 25:03d}.safetensors {row % 25}" for row in range(stored.COUNT)]
    order = hash_split(keys, 99, 99)[0]
    np.testing.assert_allclose(values(found.train), stored.means()[order], atol=4e-3)
    assert count == len(order)
    assert "without --scaled it would be" not in capsys.readouterr().out
    converted(source, vae, tmp_path / "raw")
    assert "with --scaled it would be" not in capsys.readouterr().out


def test_a_doubt_about_the_scaling(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    members = stored.edm2_members()
    unit = {
        name: stored.npy(np.load(__import__("io").BytesIO(body)) / 2)
        for name, body in members.items()
        if "npy" in name
    }
    converted(stored.edm2_zip(tmp_path / "a.zip", {**members, **unit}), vae, tmp_path / "out")
    assert "the deviation is 0.25, with --scaled it would be 1.00" in capsys.readouterr().out


def test_interrupted_and_divided_conversions_are_the_same(
    vae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latent_store, "ROWS", 16)
    source = stored.edm2_zip(tmp_path / "a.zip")
    converted(source, vae, tmp_path / "alone")
    for part in ("2/2", "1/2"):
        assert run(source, vae, tmp_path / "parts", "--part", part) == 0
    names = sorted(file.name for file in (tmp_path / "alone").iterdir())
    assert len([name for name in names if name.startswith("train")]) > 1
    for name in names:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
