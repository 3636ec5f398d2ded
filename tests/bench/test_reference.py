"""References of FID in files: ours written and read again, those of others read, and what cannot be one refused."""

from __future__ import annotations

import pickle
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import grid, reference
from bench.data import load
from bench.encoders import extractor, features
from bench.metrics import fid, kid
from bench.metrics.frechet import Moments, frechet
from bench.metrics.metric import Reference, get
from bench.metrics.names import full_name
from bench.metrics.reference_file import check, read
from bench.planning.plan import StateReader
from bench.worker.setup import make
from flowbench._core import atomic
from flowbench._core.errors import UserError

from .conftest import TINY

CPU = torch.device("cpu")
SMALL = ["--resolution", "8", "--train-images", "40", "--validation-images", "20"]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (300, 4, 5, 3), np.uint8)
MU, SIGMA = RNG.normal(size=3), np.diag([1.0, 2.0, 3.0])


@dataclass
class Means:
    """An extractor of three features."""

    name: str = "means-1"
    preprocessing: str = "none"
    dim: int = 3

    def image_features(self, images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "others-256.npz", **arrays)
    return folder / "others-256.npz"


def rows(images: np.ndarray) -> Moments:
    return Moments.of(images.astype(np.float32).mean((1, 2)))


def test_images_are_measured_by_the_extractor_whatever_statistics_lie_with_them(tmp_path: Path) -> None:
    found = read(saved(tmp_path, arr_0=PIXELS, mu=np.zeros(2048), sigma=np.eye(2048)), Means(), "cpu")
    np.testing.assert_allclose(found.moments.mean, rows(PIXELS).mean, rtol=1e-6)
    np.testing.assert_allclose(found.moments.cov, rows(PIXELS).cov, rtol=1e-4)
    assert found.name.startswith("others_256-")
    assert found.name.endswith("-300")


def test_statistics_alone_are_taken_as_they_are(tmp_path: Path) -> None:
    file = saved(tmp_path, mu=MU, sigma=SIGMA)
    found = read(file, Means(), "cpu")
    np.testing.assert_array_equal(found.moments.mean, MU)
    np.testing.assert_array_equal(found.moments.cov, SIGMA)
    assert found.name.endswith("-statistics")
    saved(tmp_path, mu=MU, sigma=2 * SIGMA)
    assert read(file, Means(), "cpu").name != found.name, "the name has a digest"


def test_fid_is_measured_against_the_file_and_all_else_against_the_validation_images(tmp_path: Path) -> None:
    given = read(saved(tmp_path, mu=MU, sigma=SIGMA), Means(), "cpu")
    drawn, held = torch.randn(50, 3), torch.randn(30, 3)
    data = load("digits", resolution=8, train=40, validation=20)
    usual, other = Reference(data, Means(), held), Reference(data, Means(), held, given)
    assert fid.distance(drawn, other) == frechet(Moments.of(drawn), given.moments)
    assert kid.distance(drawn, other) == kid.distance(drawn, usual)
    assert f",ref={given.name},n=50]" in str(full_name(get("fid"), other, 50))
    assert full_name(get("kid"), other, 50) == full_name(get("kid"), usual, 50)
    assert full_name(get("fid"), usual, 50) == f"fid[means-1,none,ref=digits-{data.digest}-30,n=50]"


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"mu": MU, "sigma": np.eye(4)}, r"mu \[3\] and sigma \[4, 4\] are no mean and covariance"),
    ({"mu": MU, "sigma": SIGMA * np.nan}, "are no mean and covariance"),
    (
        {"mu": np.zeros(4), "sigma": np.eye(4)},
        "of a network with 4 features, and --extractor is means-1,none with 3",
    ),
    (
        {"mu": MU, "sigma": SIGMA, "extractor": "means-2,none"},
        "of means-2,none, and --extractor is means-1,none",
    ),
    ({"mu": MU}, "holds mu: needed are arr_0 with images"),
    ({"arr_0": PIXELS[0]}, r"arr_0 is uint8 \[4, 5, 3\], not uint8 \[N, H, W, 3\]"),
    ({"arr_0": PIXELS / 255}, "arr_0 is float64"),
    ({"mu": np.array([None]), "sigma": SIGMA}, "cannot be read"),
]


@pytest.mark.parametrize(("arrays", "words"), MISTAKES, ids=[words[:30] for _, words in MISTAKES])
def test_arrays_that_are_no_reference(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read(saved(tmp_path, **arrays), Means(), "cpu")


@pytest.mark.parametrize(
    "cut", [lambda data: data[:-200], lambda data: b"mu", lambda data: b"", lambda d: d[:300] + d[500:]]
)
def test_files_that_are_damaged(cut: Callable[[bytes], bytes], tmp_path: Path) -> None:
    file = saved(tmp_path, arr_0=PIXELS)
    file.write_bytes(cut(file.read_bytes()))
    with pytest.raises(UserError, match="--reference"):
        read(file, Means(), "cpu")


@pytest.mark.parametrize(
    "arrays", [{"arr_0": PIXELS}, {"mu": RNG.normal(size=3), "sigma": RNG.normal(size=(3, 3))}]
)
def test_a_compressed_file_that_is_damaged(arrays: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "others.npz"
    np.savez_compressed(file, **arrays)
    data = bytearray(file.read_bytes())
    start = 30 + len(next(iter(arrays)) + ".npy") + int.from_bytes(data[28:30], "little")
    data[start] = 0xFF  # a block of a kind that there is not
    file.write_bytes(data)
    with pytest.raises(
        UserError, match="cannot be read: Error -3 while decompressing data: invalid block type"
    ):
        read(file, Means(), "cpu")


def test_a_pickle_is_refused_with_a_command_that_converts_it(tmp_path: Path) -> None:
    file = tmp_path / "img512.pkl"
    file.write_bytes(pickle.dumps({"fid": {"mu": MU, "sigma": SIGMA}, "fd_dinov2": {}}))
    with pytest.raises(UserError, match="a pickle can run any code") as refused:
        check(file)
    _, *words = shlex.split(str(refused.value).split("`")[1])
    subprocess.run([sys.executable, *words], check=True)
    np.testing.assert_array_equal(read(file.with_suffix(".npz"), Means(), "cpu").moments.cov, SIGMA)


def test_a_plan_refuses_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path, mu=MU, sigma=SIGMA)
    for name, words in (("others-25.npz", "there is no such file; did you mean"), ("a.pkl", "a pickle")):
        options = ["--preset", "smoke", "--dry-run", "--reference", str(tmp_path / name)]
        assert grid.main(options) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("images", [True, False])
def test_what_is_written_is_what_fid_compares_with(images: bool, tmp_path: Path) -> None:
    file = tmp_path / "digits.npz"
    options = ["--images"] if images else ["--extractor", "tinyclip"]
    assert reference.main(["digits", *SMALL, *options, "--out", str(file)]) == 0
    model = extractor("tinyclip")
    held = features(model, load("digits", resolution=8, train=40, validation=20).validation.reference)
    found = read(file, model, "cpu")
    assert found.name.endswith("-20" if images else "-statistics")
    assert frechet(Moments.of(held), found.moments) == pytest.approx(0, abs=1e-9)
    drawn = torch.randn(90, model.dim, generator=torch.Generator().manual_seed(0))
    expected = frechet(Moments.of(drawn), Moments.of(held))
    assert frechet(Moments.of(drawn), found.moments) == pytest.approx(expected, rel=1e-9)


def test_a_run_measures_against_a_file(tmp_path: Path) -> None:
    file = saved(tmp_path, arr_0=RNG.integers(0, 256, (70, 16, 16, 3), np.uint8))
    usual = make("shapes", TINY, CPU)
    other = make("shapes", replace(TINY, evaluation=replace(TINY.evaluation, reference=str(file))), CPU)
    assert other.reference.given is not None
    changed = {name for name, value in usual.names().items() if other.names()[name] != value}
    assert changed == {"fid_name"}


def test_cells_are_measured_again_where_the_file_has_changed(tmp_path: Path) -> None:
    file = saved(tmp_path, arr_0=PIXELS)
    changed = replace(TINY, evaluation=replace(TINY.evaluation, reference=str(file)))

    def outdated() -> bool:
        return StateReader(tmp_path, changed).outdated(tmp_path)

    name = f"fid[means-1,none,ref={read(file, Means(), 'cpu').name},n=8]"
    result = tmp_path / changed.evaluation.id / "result.json"
    atomic.write_json(result, {"names": {"fid_name": name}, "solvers": {}})
    assert not outdated()
    saved(tmp_path, arr_0=PIXELS[:200])
    assert outdated()
    file.unlink()
    assert not outdated()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["digits", "--out", "x.pkl"], "name an .npz file"),
        (["digits", "--out", "none/x.npz"], "in a folder that is there"),
        (["digits", "--images", "--extractor", "tinyclip", "--out", "x.npz"], "choose one"),
        (["digit", "--out", "x.npz"], "did you mean 'digits'"),
    ],
)
def test_mistakes_of_the_command(
    argv: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reference.main(argv) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
