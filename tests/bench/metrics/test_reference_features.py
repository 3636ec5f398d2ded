"""Features of held-out images are extracted once: kept bit for bit, and known by all that they depend on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import Dataset, Split, build
from bench.data.images import cache_folder
from bench.metrics.reference_features import reference_features
from flowbench._core.errors import UserError


@dataclass
class Sums:
    """An extractor that counts the images it reads."""

    name: str = "sums-1"
    preprocessing: str = "none"
    dim: int = 3
    read: list[int] = field(default_factory=list)

    def image_features(self, images: torch.Tensor) -> torch.Tensor:
        self.read.append(len(images))
        return images.double().mean((2, 3)).sqrt().float()


def dataset(seed: int = 0, name: str = "noise") -> Dataset:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 3, 4, 4), np.uint8)
    captions = tuple(f"image {i}" for i in range(40))
    return build(name, (Split(pixels[:30], captions[:30]), Split(pixels[30:], captions[30:])))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_second_run_extracts_nothing_and_has_the_same_bits() -> None:
    first, second = Sums(), Sums()
    found = reference_features(dataset(), first, "cpu")
    again = reference_features(dataset(), second, "cpu")
    assert (first.read, second.read) == ([10], [])
    assert torch.equal(found, again)
    assert found.dtype == again.dtype == torch.float32


def test_features_that_are_not_finite_are_refused_and_not_kept() -> None:
    class Overflowing(Sums):
        def image_features(self, images: torch.Tensor) -> torch.Tensor:
            found = super().image_features(images)
            found[7, 1] = torch.inf
            return found

    with pytest.raises(
        UserError, match="sums-1 gives values that are not finite for the image 7: its weights"
    ):
        reference_features(dataset(), Overflowing(), "cpu")
    assert not (cache_folder(None) / "references").exists()


def kept() -> list[Path]:
    """The files of features in the cache."""
    return sorted((cache_folder(None) / "references").iterdir())


@pytest.mark.parametrize(
    "other",
    [
        (dataset(1), Sums(), "cpu"),
        (dataset(name="other"), Sums(), "cpu"),
        (replace(dataset(), validation=dataset().train), Sums(), "cpu"),
        (dataset(), Sums(name="sums-2"), "cpu"),
        (dataset(), Sums(preprocessing="half"), "cpu"),
        (dataset(), Sums(dim=4), "cpu"),
    ],
    ids=["images", "name", "number", "weights", "preprocessing", "dimensions"],
)
def test_whatever_features_depend_on_has_a_file_of_its_own(other: tuple[Dataset, Sums, str]) -> None:
    reference_features(dataset(), Sums(), "cpu")
    reference_features(*other)
    assert len(kept()) == 2


def test_workers_that_extract_at_once_leave_one_whole_file() -> None:
    with ThreadPoolExecutor(4) as several:
        found = list(several.map(lambda _: reference_features(dataset(), Sums(), "cpu"), range(4)))
    assert all(torch.equal(found[0], each) for each in found)
    assert len(kept()) == 1


@pytest.mark.parametrize("left", [b"", b"\x00" * 200])
def test_a_damaged_file_is_written_again(left: bytes) -> None:
    found = reference_features(dataset(), Sums(), "cpu")
    (where,) = kept()
    where.write_bytes(left)
    for reads in ([10], []):
        again = Sums()
        assert torch.equal(reference_features(dataset(), again, "cpu"), found)
        assert again.read == reads


def test_a_cache_that_cannot_be_written_costs_an_extraction(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    for again in (Sums(), Sums()):
        assert len(reference_features(dataset(), again, "cpu")) == 10
        assert again.read == [10]
