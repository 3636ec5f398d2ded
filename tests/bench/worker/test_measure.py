"""Datasets made ready, generated and real images measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench import grid as command
from bench.config.experiment import Evaluation, Grid, Images
from bench.data import Split, build, dataset, shapes
from bench.data.encoded import Decoded
from bench.worker.measure import measure, real_scores
from bench.worker.setup import Setup, choose, make
from flowbench._core.errors import UserError

from ..conftest import TINY

CPU = torch.device("cpu")


def test_real_images_score_like_real_images(setup: Setup) -> None:
    by_caption = {c: i for i, c in enumerate(setup.data.validation.captions)}
    images = torch.from_numpy(setup.data.validation.reference[[by_caption[c] for c in setup.chosen]])
    found = measure(images, setup)
    assert found.values["clip"] > 90
    assert found.values["composition"] == found.values["composition_all"] == 1.0
    assert found.per_sample["clip"].shape == (12,)
    assert found.values["clip"] == pytest.approx(found.per_sample["clip"].mean())


def test_features_of_held_out_images_are_extracted_once(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(setup.extractor), "image_features", None)
    again = make("shapes", TINY, CPU)
    assert torch.equal(again.reference.features, setup.reference.features)


def test_noise_scores_badly(setup: Setup) -> None:
    noise = torch.randint(
        0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    found = measure(noise, setup)
    assert found.values["clip"] < 40
    assert found.values["composition_all"] == 0.0
    assert found.values["fid"] > 20


def test_composition_is_the_mean_of_its_parts(setup: Setup) -> None:
    images = torch.from_numpy(setup.data.train.reference[:12])
    values = measure(images, setup).values
    parts = [values[f"composition_{p}"] for p in ("colors", "shapes", "sizes", "background")]
    assert "composition_relation" not in values, "there is one object"
    assert values["composition"] == pytest.approx(np.mean(parts))
    assert 0 < values["composition"] < 1


def test_values_of_samples_for_the_frechet_distance_need_enough_samples(setup: Setup) -> None:
    rows = np.resize(np.arange(96), 128)
    images, captions = (
        torch.from_numpy(setup.data.train.reference[rows]),
        [setup.data.train.captions[i] for i in rows],
    )
    values = measure(images, setup, captions).per_sample["fid"]
    assert values.shape == (128,)
    assert values.mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(values[:32], values[96:], rtol=1e-6, err_msg="the same images")
    assert "fid" not in measure(images[:127], setup, captions[:127]).per_sample, (
        "two for each of 64 dimensions"
    )


def test_path_lengths_are_averaged(setup: Setup) -> None:
    images, lengths = torch.from_numpy(setup.data.train.reference[:12]), torch.arange(12.0)
    found = measure(images, setup, path_length=lengths)
    assert found.values["path_length"] == 5.5
    np.testing.assert_array_equal(found.per_sample["path_length"], lengths)
    lengths[3] = torch.inf
    assert measure(images, setup, path_length=lengths).values["path_length"] is None
    assert "path_length" not in measure(images, setup).values


def test_real_scores(setup: Setup) -> None:
    found = real_scores(setup)
    assert found["n"] == 12
    assert found["clip_real"] > 90 > 20 > found["clip_shuffled"]
    assert found["fid_name"].startswith("fid[tinyclip-")
    assert f"ref=shapes-{setup.data.digest}-48,n=12]" in found["fid_name"]
    for part in ("colors", "sizes", "background"):
        assert found[f"composition_{part}_squares"] == found[f"composition_{part}_real"] == 1, part
    drawn = np.mean(["square" in caption for caption in shapes.scenes(np.arange(12)).captions()])
    assert found["composition_shapes_squares"] == pytest.approx(drawn), "right where a square is asked for"
    assert found["composition_shapes_real"] == 1
    assert found == real_scores(setup)


def test_decoded_images_are_not_called_real_and_are_made_a_few_at_a_time(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def decoder(values: torch.Tensor) -> torch.Tensor:
        counts.append(len(values))
        return values

    train, validation = (
        Split(split.reference, split.captions, values=np.asarray(split.reference, np.float32))
        for split in (setup.data.train, setup.data.validation)
    )
    assert train.values is not None
    monkeypatch.setattr(dataset, "DECODED", 4 * 16 * 16)
    images = Decoded(train.values, decoder, 16)
    np.testing.assert_array_equal(images[np.arange(10)], train.reference[np.arange(10)])
    data = build("decoded", (replace(train, reference=images), validation), decoder, digest="0")
    found = real_scores(replace(setup, data=data))
    assert found["clip_decoded"] > 90 > 20 > found["clip_shuffled"]
    assert "clip_real" not in found
    assert max(counts) == 4


def test_the_chosen_captions_are_a_prefix_whatever_n(setup: Setup) -> None:
    few, many = choose(setup.data, Evaluation(samples=10)), choose(setup.data, Evaluation(samples=100))
    assert many[:10] == few
    assert many[48:96] == many[:48], "48 validation captions, repeated"


def test_a_gray_dataset(grid: Grid) -> None:
    made = make("digits", replace(grid, images=Images(train=200, validation=40)), CPU)
    assert made.shape(grid.model).channels == 1
    assert real_scores(made)["clip_real"] > 80
    assert "composition" not in measure(torch.from_numpy(made.data.train.reference[:12]), made).values


def write_folder(folder: Path, setup: Setup, words: str | None = None) -> None:
    folder.mkdir()
    images, captions = setup.data.train.reference[:60], setup.data.train.captions[:60]
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i:03}.png")
        (folder / f"{i:03}.txt").write_text(words or caption)


@pytest.mark.usefixtures("here")
def test_a_folder_of_images_runs_through(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_folder(tmp_path / "pictures", setup)
    (tmp_path / "pictures" / "extra.png").write_bytes(b"no image")
    argv = [
        "--preset", "smoke", "--formulations", "rf", "--datasets", f"images:{tmp_path / 'pictures'}", "--steps", "4",
        "--batch", "4", "--validation-batch", "8", "--samples", "4", "--settings", "2:1", "--device", "cpu",
    ]  # fmt: skip
    assert command.main([*argv, "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "skipped extra.png" in printed.err
    assert "real images" in printed.out


def test_captions_of_another_world_are_refused(
    setup: Setup, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_folder(tmp_path / "pictures", setup, "an emoji of a grinning face")
    with pytest.raises(UserError, match=r"bench\.tinyclip --data .*--text tinyclip:"):
        make(f"images:{tmp_path / 'pictures'}", grid, CPU)
