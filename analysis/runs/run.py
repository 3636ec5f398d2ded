"""What an analysis is about: a run folder with everything in it, or a bare table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.runs import collect, declared, schema, sources, spreadsheet
from analysis.runs.schema import Results
from analysis.runs.sources import Source
from analysis.runs.where import choose
from bench.metrics import run_metrics
from bench.runfolder import manifest
from bench.runfolder.manifest import Manifest, PlannedCell
from flowbench._core.errors import UserError, nearest_path
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

REAL_SCORES = "real-scores.json"
REFERENCES = {
    "real images": "real",
    "decoded images": "decoded",
    "shuffled captions": "shuffled",
    "squares only": "squares",
}
"""What is scored instead of generated images, by how the names of its values end."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Run(Results):
    """Results, of ranking and confirmation, with the files that they are from.

    ``manifests`` are what was planned; they are empty for a table without its cells, which then has no curves, pictures
    or failures to show. ``source`` has the files of the cells (`analysis.runs.sources`).
    """

    path: Path
    manifests: tuple[Manifest, ...]
    source: Source

    @property
    def name(self) -> str:
        """What to call it in a title."""
        return self.path.resolve().name

    def cells(self, status: str = "done", phase: str = "rank") -> Iterator[tuple[Manifest, PlannedCell]]:
        """The planned cells of a status that are in the frame, each with its plan; `source` has their files."""
        rows = self.frame
        if "cell" not in rows:
            return
        there = set(rows.loc[(rows["status"] == status) & (rows["phase"] == phase), "cell"])
        for m in self.manifests:
            for cell in m.cells:
                if cell.id in there:
                    yield m, cell


def read(path: str | Path, where: Iterable[str] = ()) -> Run:
    """Open a run folder, a ``.parquet`` or a ``.csv`` file; ``where`` keeps some of its rows (`results.where.choose`).

    A folder with a plan is collected anew where its cells changed; an archived run (`analysis.archive`), or a folder with a
    bare ``results.parquet``, is read as it is.
    Raises `UserError` for a path that is absent, of another kind, damaged, without results, or that holds no valid table.
    """
    path = Path(path).expanduser()
    if not path.exists():
        near = nearest_path(
            path, lambda p: p.is_dir() or p.suffix.lower() in (".parquet", *spreadsheet.SUFFIXES)
        )
        raise UserError(
            f"there is no {str(path)!r}: {near or 'name a run folder, a .parquet or a .csv file'}"
        )
    manifests = manifest.read(path) if path.is_dir() else []
    damaged: tuple[str, ...] = ()
    if not path.is_dir():
        frame = _load(path)
    elif manifests and not sources.is_archive(path):
        frame, damaged = collect.collect(path, manifests)
        if frame.empty:
            raise UserError(
                f"{str(path)!r} has a plan without cells: run `python -m bench.grid --out {path}`"
            )
    elif (path / collect.RESULTS).is_file():
        frame = _load(path / collect.RESULTS)
    else:
        raise UserError(f"{str(path)!r} holds no results: run `python -m bench.grid --out {path}` first")
    checked = schema.check(frame, str(path), declared.metrics_of(manifests[0]) if manifests else None)
    found = Run(
        checked.frame,
        checked.metrics,
        _real_scores(path / REAL_SCORES) if path.is_dir() else {},
        damaged,
        path=path,
        manifests=tuple(manifests),
        source=sources.of(path),
    )
    return choose(found, where, str(path))


def titles(paths: Iterable[Path]) -> dict[Path, str]:
    """What to call each of several runs in a table: its name, or its path where two have one name."""
    names = {path: path.resolve().name if path.is_dir() else path.stem for path in paths}
    several = Counter(names.values())
    return {path: name if several[name] == 1 else str(path) for path, name in names.items()}


def _load(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix in spreadsheet.SUFFIXES:
        shipped = schema.Columns(tuple(m.name for m in run_metrics.columns()))
        return spreadsheet.read(path, shipped.known, shipped.numeric)
    if suffix in spreadsheet.WORKBOOKS:
        raise UserError(f"{str(path)!r} is a workbook: {spreadsheet.AS_CSV}")
    if suffix != ".parquet":
        raise UserError(f"{str(path)!r} is of no known kind: choose a run folder, a .parquet or a .csv file")
    try:
        return pd.read_parquet(path)
    except PermissionError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except Exception as error:  # pyarrow raises many kinds for foreign and damaged files
        raise UserError(
            f"{str(path)!r} cannot be read as parquet: it is cut off, damaged or another format"
        ) from error


def _real_scores(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} is not valid JSON ({error})") from error
    if not isinstance(read, dict) or not all(isinstance(v, dict) for v in read.values()):
        raise UserError(f"{str(path)!r} is no table of scores by dataset")
    ends = tuple(f"_{end}" for end in REFERENCES.values())
    for dataset, values in read.items():
        for key, value in values.items():
            if key.endswith(ends) and not isinstance(value, (int, float, type(None))):
                raise UserError(f"{str(path)!r}: {key} of {dataset!r} is {value!r}, not a number")
    return read
