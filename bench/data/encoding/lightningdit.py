"""LightningDiT's latents: shards of safetensors with ``latents``, ``latents_flip`` ``[n, C, h, w]`` and ``labels [n]``.

One sample of the posterior each, not scaled, as ``extract_features.py`` of https://github.com/hustvl/LightningDiT writes
them (Yao et al. 2025, arXiv 2501.01423). Its ``latents_stats.pt`` is a pickle: it is not read, statistics are measured
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.data.encoding.latent_source import LatentSource, ReadingOptions, damaged, refuse_unused
from flowbench._core.errors import UserError

FORM = "LightningDiT's latents"
VALUES, FLIPS, CLASSES = "latents", "latents_flip", "labels"


def found(path: Path) -> bool:
    """Whether a path has this form."""
    return bool(files_of(path))


def files_of(path: Path) -> list[Path]:
    """The shards of a folder, or one shard."""
    if path.is_dir():
        return sorted(path.glob("*.safetensors"))
    return [path] if path.suffix == ".safetensors" else []


def read(path: Path, options: ReadingOptions, channels: int) -> LatentSource:
    """The latents of a folder of shards, or of one. Raises :class:`UserError` for a shard that is damaged or has others."""
    from safetensors import SafetensorError, safe_open

    refuse_unused(FORM, options, ("flips",))
    files = files_of(path)
    keys, labels, content = list[str](), list[int | tuple[str, ...]](), list[object]()
    starts, wanted = [0], None
    for file in files:
        try:
            with safe_open(file, framework="pt") as opened:
                shapes = {name: opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
                classes = opened.get_tensor(CLASSES).flatten().tolist() if CLASSES in shapes else []
        except (SafetensorError, OSError, ValueError) as error:
            raise damaged(file, error) from None
        wanted = wanted or shapes.get(VALUES, [])[1:]
        check(file, shapes, classes, [channels, *wanted[1:]], options.flips)
        keys += [f"{file.name} {row}" for row in range(len(classes))]
        labels += classes
        starts.append(len(keys))
        content.append([file.name, shapes, file.stat().st_size])
    pickles = sorted(path.glob("*.pt")) if path.is_dir() else []
    remarks = [f"{file.name} is a pickle and is not read: statistics are measured" for file in pickles]
    if FLIPS in shapes and not options.flips:
        remarks.append("the flipped latents are left out: --flips trains on them, too")
    shape = channels, *wanted[1:]  # type: ignore[index]
    values, flips = reader(files, starts, VALUES), reader(files, starts, FLIPS) if options.flips else None
    return LatentSource(
        FORM,
        keys,
        labels,
        shape,
        "sample",
        values,
        content,
        flips,
        remarks=tuple(remarks),  # type: ignore[arg-type]
    )


def check(
    file: Path, shapes: dict[str, list[int]], classes: Sequence[object], wanted: list[int], flips: bool
) -> None:
    """Raise :class:`UserError` for a shard without the tensors of this form, or of other shapes."""
    for name in (VALUES, CLASSES, *([FLIPS] if flips else [])):
        if name not in shapes:
            raise UserError(
                f"--latents {file}: it has no tensor {name!r}, but {', '.join(sorted(shapes)) or 'none'}"
            )
    shape, expected = shapes[VALUES], [len(classes), *wanted]
    if len(shape) != 4 or shape != expected or shape[2] != shape[3] or (flips and shapes[FLIPS] != shape):
        raise UserError(
            f"--latents {file}: {VALUES} is {shape}, not {expected}, the labels and the autoencoder's channels"
        )
    if not all(isinstance(each, int) for each in classes):
        raise UserError(f"--latents {file}: {CLASSES} are no whole numbers")


def reader(
    files: Sequence[Path], starts: Sequence[int], name: str
) -> Callable[[NDArray[np.int64]], NDArray[Any]]:
    """Reads rows of a tensor over all shards, of each shard the part between the first and the last row."""
    from safetensors import SafetensorError, safe_open

    def values(rows: NDArray[np.int64]) -> NDArray[Any]:
        owners = np.searchsorted(starts, rows, side="right") - 1
        found: dict[int, NDArray[Any]] = {}
        for owner in np.unique(owners).tolist():
            own = rows[owners == owner] - starts[owner]
            low = int(own.min())
            try:
                with safe_open(files[owner], framework="pt") as opened:
                    part = opened.get_slice(name)[low : int(own.max()) + 1].float().numpy()
            except (SafetensorError, OSError) as error:
                raise damaged(files[owner], error) from None
            found[owner] = part[own - low]
        whole = np.empty((len(rows), *next(iter(found.values())).shape[1:]), np.float32)
        for owner, part in found.items():
            whole[owners == owner] = part
        return whole

    return values
