"""Encoding onto a disk that is full: one sentence, and the same command continues once there is space."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import encode

from ..disks import fill, mounted
from .autoencoders import save_kl
from .encoders.small_models import sd3_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder and a T5."""
    root = tmp_path_factory.mktemp("models")
    save_kl(root / "kl")
    sd3_models(root)
    return root


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.data.latent_store.ROWS", 16)
    monkeypatch.setattr("bench.encoders.caption_store.ROWS", 8)


def words(models: Path, out: Path) -> list[str]:
    """Latents and captions of shapes: about 160 KiB in 9 files and more."""
    source = ["--data", "shapes", "--resolution", "16", "--train", "64", "--validation", "32"]
    where = ["--autoencoder", str(models / "kl"), "--text", f"t5:{models / 't5'},length=12"]
    return [*source, *where, "--device", "cpu", "--out", str(out)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def stopped_by_full_disk(
    given: list[str], disk: Path, leave: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the command with so many bytes of space; it has to end with one sentence, and leave nothing half written."""
    filler = fill(disk, leave)
    capsys.readouterr()
    assert encode.main(given) == 2
    error = capsys.readouterr().err.splitlines()
    assert error[-1].startswith("error: ")
    assert error[-1].endswith("No space left on device")
    assert not any("Traceback" in line for line in error)
    assert not [file for file in disk.rglob("*") if file.name.startswith(".")]
    filler.unlink()


@pytest.mark.parametrize("kibibytes", [0, 28, 80, 96, 104, 112])
def test_the_same_command_continues(
    kibibytes: int, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it is full: at the first shard or a later one, at captions, at the index, at encoded captions."""
    plain = tmp_path / "plain"
    assert encode.main(words(models, plain)) == 0
    with mounted(tmp_path / "disk", 4_000) as disk:
        given = words(models, disk / "out")
        stopped_by_full_disk(given, disk, kibibytes * 1024, capsys)
        before = {file: file.stat().st_mtime_ns for file in disk.rglob("*.safetensors")}
        assert encode.main(given) == 0
        assert files(disk / "out") == files(plain)
        assert all(file.stat().st_mtime_ns == written for file, written in before.items()), "once is enough"
