"""The contract of latents that others have encoded: what a reader of one form makes of a file or folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flowbench._core.errors import UserError

LARGEST_ITEM = 1 << 28
"""Most bytes of one latent in a file."""


@dataclass(frozen=True)
class ReadingOptions:
    """How latents of others are read. A form that has no use for an option that is set refuses it.

    Attributes:
        columns: columns of MDS by what they are used for: ``latents``, ``caption``, ``name`` or ``label``.
        range: the difference between the values of 255 and 0, of latents in 8 bits.
        flips: whether the flipped latents train as well.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    range: float | None = None
    flips: bool = False


@dataclass(frozen=True)
class LatentSource:
    """Latents of others, read by row.

    Attributes:
        form: what they are, for messages: ``EDM2's latents``.
        keys: a name for each, that does not depend on where they lie: its side of the split depends on it.
        labels: of each the number of its class, or its captions.
        shape: channels, height and width of a latent.
        stores: ``mean+std``, or ``sample`` where one value is stored.
        values: rows to ``[n, c, h, w]``, or ``[n, 2 c, h, w]`` with the deviations behind the means; any float type.
        content: what names the content apart from keys and labels: sizes, checksums, hashes, options.
        flips: as ``values``, of the flipped images; None without.
        half_range: half the range of latents in 8 bits; None for others.
        remarks: what was left out or refused, for the user.
    """

    form: str
    keys: Sequence[str]
    labels: Sequence[int | tuple[str, ...]]
    shape: tuple[int, int, int]
    stores: Literal["mean+std", "sample"]
    values: Callable[[NDArray[np.int64]], NDArray[Any]]
    content: Sequence[object]
    flips: Callable[[NDArray[np.int64]], NDArray[Any]] | None = None
    half_range: float | None = None
    remarks: tuple[str, ...] = ()


def damaged(file: Path, what: object) -> UserError:
    """The sentence for a file of latents that cannot be read."""
    reason = (str(what).strip().splitlines() or ["it is damaged"])[0]
    return UserError(f"--latents {file}: {reason}: copy it again")


def refuse_unused(form: str, options: ReadingOptions, uses: Sequence[str]) -> None:
    """Raise :class:`UserError` for an option that a form has no use for."""
    for name in ("columns", "range", "flips"):
        if getattr(options, name) and name not in uses:
            raise UserError(f"--{name} does not apply to {form}: leave it out")


def square(values: NDArray[Any], channels: int) -> NDArray[Any]:
    """Values in a row as ``[channels, edge, edge]``. Raises :class:`ValueError` if they are none."""
    edge = round((values.size / channels) ** 0.5)
    if channels * edge * edge != values.size:
        raise ValueError(f"{values.size} values are no square latent of {channels} channels")
    return values.reshape(channels, edge, edge)
