"""Small pictures and folders of them, for the tests of ``images:PATH``."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from bench import data
from bench.config.experiment import Images
from bench.data import images, pixels


def picture(number: int, size: tuple[int, int] = (12, 10)) -> Image.Image:
    values = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(values)


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def names(count: int) -> list[str]:
    return [("sub/" if i % 2 else "") + f"{i:03d}.png" for i in range(count)]


def fill(folder: Path, count: int = 40, texts: bool = True) -> Path:
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names(count)):
        path = folder / name
        path.write_bytes(encoded(picture(i)))
        if texts:
            path.with_suffix(".txt").write_text(f" picture\n number {i} ")
    return folder


def tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as file:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            file.addfile(info, io.BytesIO(body))
    return path


def shard(path: Path, numbers: range, suffix: str = "txt") -> Path:
    def text(i: int) -> str:
        words = f"picture number {i}"
        return words if suffix == "txt" else json.dumps({"caption": words})

    members = {}
    for i in numbers:
        members |= {f"{i:05d}.png": encoded(picture(i)), f"{i:05d}.{suffix}": text(i).encode()}
    return tar(path, members)


def load(
    path: Path | str, cache: Path, max_skipped: float = images.MOST_SKIPPED, resolution: int = 8, **sizes: int
) -> data.Dataset:
    return images.Files(str(path), cache, max_skipped).load("", Images(resolution, **sizes))


def pairs(loaded: data.Dataset) -> dict[str, bytes]:
    """Pixels by caption, for all captions."""
    splits = (loaded.train, loaded.validation)
    return {c: i.tobytes() for s in splits for cs, i in zip(s.every(), s.reference, strict=True) for c in cs}


def expected(count: int) -> dict[str, bytes]:
    return {f"picture number {i}": pixels.decode(encoded(picture(i)), 8).tobytes() for i in range(count)}
