"""Where the files of a run's cells are read: in its folder, or, of an archived run (`analysis.archive`), in the tables
that keep what analysis needs of them.

    cells.parquet      cell, file, text                         JSON and text files of cells, cut to what is read
    curves.parquet     cell, step, val_loss, level_0, ...       their validations
    samples.parquet    cell, setting, metric, values            values of single samples
    pictures.parquet   owner, of, row, shape, pixels            pictures that figures and page show: of a cell at a setting,
                                                                or real ones, of a dataset for a caption

An archive without one of the last two has left it out (``provenance.json`` records that).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

CELLS, CURVES, SAMPLES, PICTURES = (f"{name}.parquet" for name in ("cells", "curves", "samples", "pictures"))
PROVENANCE = "provenance.json"
LEVELS = tuple((i + 0.5) / 8 for i in range(8))
"""The noise levels of the validation, on the clock b / (a + b)."""
LOGGED = ("step", "seconds", "train_loss", "val_loss")
PROBES = ("attention_logit", "attention_entropy")
"""Numbers of each block that only a training with ``--probes`` logs; here their means over the :data:`LAST` blocks."""
LAST = 5
"""Blocks at the end of the network, where attention becomes unstable (arXiv 2403.03206, figure 5)."""
Pixels = NDArray[np.uint8]


class Source(Protocol):
    """What a run keeps of its cells besides the results table; a cell is named by its id."""

    def text(self, cell: str, name: str) -> str:
        """A text file of a cell; empty if it is not there or cannot be read."""

    def validations(self, cell: str) -> list[dict[str, float]]:
        """The numbers of each validation, by name (`LOGGED`, ``level_0`` ..., `PROBES`), without absent ones; none without
        a log."""

    def samples(self, cell: str, evaluation: str, metric: str) -> dict[str, NDArray[np.float64]]:
        """Values of single samples ``[n]`` by the name of their control setting."""

    def pictures(self, cell: str, sampling: str, setting: str, rows: Sequence[int]) -> Pixels | None:
        """The pictures ``[n, C, H, W]`` of those captions (by number) up to the first without one, None if there is none.

        Raises `UserError` naming the file if it is damaged.
        """

    def real_images(self, dataset: str, caption: str, most: int) -> Pixels | None:
        """Up to ``most`` real images ``[n, C, H, W]`` for a caption; None if there is none."""

    def commits(self) -> set[tuple[str, str]]:
        """Digests of the code that was submitted, each with its commit."""


def json_of(source: Source, cell: str, name: str) -> dict[str, Any]:
    """The JSON object in a file of a cell; empty if it is not there, or is something else."""
    try:
        kept = json.loads(source.text(cell, name))
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


class Folder:
    """The cells in a run folder (`Source`)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, cell: str, name: str) -> str:
        try:
            return (self.path / "cells" / cell / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def validations(self, cell: str) -> list[dict[str, float]]:
        """See `Source`. A log with a line that cannot be read counts as no log."""
        found: list[dict[str, float]] = []
        try:
            for line in map(json.loads, self.text(cell, "metrics.jsonl").splitlines()):
                levels = line.get("val_common") or [None] * len(LEVELS)
                numbers = {name: line.get(name) for name in LOGGED}
                numbers |= {f"level_{i}": v for i, v in zip(range(len(LEVELS)), levels, strict=True)}
                numbers |= {name: _mean(line.get(name, ())[-LAST:]) for name in PROBES}
                found.append({name: float(v) for name, v in numbers.items() if v is not None})
        except (ValueError, TypeError, AttributeError):
            return []
        return found

    def samples(self, cell: str, evaluation: str, metric: str) -> dict[str, NDArray[np.float64]]:
        found: dict[str, NDArray[np.float64]] = {}
        with (
            suppress(*unreadable()),
            opened(self.path / "cells" / cell / evaluation / "per_sample.safetensors") as kept,
        ):
            for key in kept.keys():  # noqa: SIM118 (not a dict)
                setting, _, name = key.partition("/")
                if name == metric:
                    found[setting] = kept.get_tensor(key).astype(np.float64)
        return found

    def pictures(self, cell: str, sampling: str, setting: str, rows: Sequence[int]) -> Pixels | None:
        file = self.path / "cells" / cell / f"images-{sampling}" / f"{setting}.safetensors"
        if not file.exists():
            return None
        try:
            with opened(file) as kept:
                part = kept.get_slice("images")
                return np.stack([part[row] for row in rows if row < part.get_shape()[0]]).astype(np.uint8)
        except unreadable() as error:
            raise UserError(f"{file} cannot be read ({error}): delete it and run the grid again") from None

    def real_images(self, dataset: str, caption: str, most: int) -> Pixels | None:
        """See `Source`; they lie with the measurements of real images."""
        name = f"{sha256(dataset.encode()).hexdigest()[:12]}.safetensors"
        for file in sorted(self.path.glob(f"real-scores/*/{name}")):
            with suppress(*unreadable(), KeyError, TypeError, IndexError), opened(file) as kept:
                captions = json.loads(kept.metadata()["about"])["captions"]
                rows = [i for i, found in enumerate(captions) if found == caption][:most]
                if rows:
                    return np.stack([kept.get_slice("images")[row] for row in rows]).astype(np.uint8)
        return None

    def commits(self) -> set[tuple[str, str]]:
        kept = [atomic.known_object(file) for file in self.path.glob("submissions/*/submission.json")]
        return {(str(k["code"]), str(k["commit"])) for k in kept if k.get("code") and k.get("commit")}


def opened(file: Path) -> Any:
    """A file of tensors, as arrays."""
    from safetensors import safe_open

    return safe_open(file, framework="numpy")


def unreadable() -> tuple[type[Exception], ...]:
    """What a damaged file of tensors raises."""
    from safetensors import SafetensorError

    return SafetensorError, OSError, ValueError


class Archive:
    """The tables of an archived run. Raises `UserError` where one cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self, cell: str, name: str) -> str:
        return self._texts.get((cell, name), "")

    def validations(self, cell: str) -> list[dict[str, float]]:
        return self._logs.get(cell, [])

    def samples(self, cell: str, evaluation: str, metric: str) -> dict[str, NDArray[np.float64]]:
        """See `Source`; of one evaluation, the plan's."""
        return self._samples.get((cell, metric), {})

    def pictures(self, cell: str, sampling: str, setting: str, rows: Sequence[int]) -> Pixels | None:
        """See `Source`; of one sampling, the plan's."""
        kept = self._pictures.get((cell, setting), {})
        return _stacked(kept[row] for row in takewhile(kept.__contains__, rows))

    def real_images(self, dataset: str, caption: str, most: int) -> Pixels | None:
        kept = self._pictures.get((dataset, caption), {})
        return _stacked(kept[row] for row in sorted(kept)[:most])

    def commits(self) -> set[tuple[str, str]]:
        return {
            (str(code), str(commit))
            for code, commit in atomic.known_object(self.path / PROVENANCE).get("commits", [])
        }

    @cached_property
    def _texts(self) -> dict[tuple[str, str], str]:
        table = self.table(CELLS, ("cell", "file", "text"))
        return {(cell, file): text for cell, file, text in table.itertuples(index=False)}

    @cached_property
    def _logs(self) -> dict[str, list[dict[str, float]]]:
        found: dict[str, list[dict[str, float]]] = {}
        logged = (*CURVE, *PROBES)
        for cell, *numbers in self.table(CURVES, ("cell", *logged)).itertuples(index=False):
            line = {name: float(v) for name, v in zip(logged, numbers, strict=True) if v == v}
            found.setdefault(cell, []).append(line)
        return found

    @cached_property
    def _samples(self) -> dict[tuple[str, str], dict[str, NDArray[np.float64]]]:
        found: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
        for cell, setting, metric, values in self.table(SAMPLES, SAMPLE).itertuples(index=False):
            found.setdefault((cell, metric), {})[setting] = np.asarray(values, dtype=np.float64)
        return found

    @cached_property
    def _pictures(self) -> dict[tuple[str, str], dict[int, Pixels]]:
        """By cell and setting, or by dataset and caption."""
        found: dict[tuple[str, str], dict[int, Pixels]] = {}
        for owner, of, row, shape, pixels in self.table(PICTURES, PICTURE).itertuples(index=False):
            found.setdefault((owner, of), {})[row] = np.frombuffer(pixels, np.uint8).reshape(shape)
        return found

    def table(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """A table of the archive; empty if it has left it out. It need not have `PROBES`."""
        if not (self.path / name).is_file():
            return pd.DataFrame(columns=list(columns))
        try:
            found = pd.read_parquet(self.path / name)
            return found.assign(**dict.fromkeys(set(PROBES) - set(found), np.nan))[list(columns)]
        except Exception as error:  # pyarrow raises many kinds for foreign and damaged files
            raise UserError(f"{str(self.path / name)!r} cannot be read: archive the run again") from error


CURVE = (*LOGGED, *(f"level_{i}" for i in range(len(LEVELS))))
SAMPLE = ("cell", "setting", "metric", "values")
PICTURE = ("owner", "of", "row", "shape", "pixels")


def _mean(numbers: Sequence[float | None]) -> float | None:
    """The mean of some numbers; None if there are none, or one is absent."""
    there = [number for number in numbers if number is not None]
    return sum(there) / len(there) if there and len(there) == len(numbers) else None


def _stacked(pictures: Iterable[Pixels]) -> Pixels | None:
    found = list(pictures)
    return np.stack(found) if found else None


def of(path: Path) -> Source:
    """The cells of a run folder, or of an archived run."""
    return Archive(path) if is_archive(path) else Folder(path)


def is_archive(path: Path) -> bool:
    """Whether a folder holds an archived run: what its cells left, without the cells."""
    return (path / CELLS).is_file() and not (path / "cells").is_dir()
