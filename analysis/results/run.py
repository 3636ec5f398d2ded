"""What an analysis is about: a run folder with everything in it, or a bare table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.results import collect, declared, manifest, schema, sources, spreadsheet, yardsticks
from analysis.results.manifest import Manifest, PlannedCell
from analysis.results.sources import Source
from analysis.results.where import choose
from flowbench._core.errors import UserError, nearest_path
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

YARDSTICKS = "yardsticks.json"


@dataclass(frozen=True, eq=False)
class Run:
    """``frame`` is the checked results table (`results.schema`), of ranking and confirmation; ``attrs`` has the yardsticks.

    ``manifests`` are what was planned; they are empty for a table without its cells, which then has no curves, pictures
    or failures to show. ``source`` has the files of the cells (`analysis.results.sources`).
    """

    path: Path
    frame: pd.DataFrame
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
    path, where = Path(path).expanduser(), tuple(where)
    if not path.exists():
        near = nearest_path(
            path, lambda p: p.is_dir() or p.suffix.lower() in (".parquet", *spreadsheet.SUFFIXES)
        )
        raise UserError(
            f"there is no {str(path)!r}: {near or 'name a run folder, a .parquet or a .csv file'}"
        )
    if not path.is_dir():
        return Run(path, choose(schema.check(_load(path), str(path)), where, str(path)), (), sources.of(path))
    manifests = manifest.read(path)
    if manifests and not sources.is_archive(path):
        found = collect.collect(path, manifests)
        if found.empty:
            raise UserError(
                f"{str(path)!r} has a plan without cells: run `python -m bench.grid --out {path}`"
            )
    elif (path / collect.RESULTS).is_file():
        found = _load(path / collect.RESULTS)
    else:
        raise UserError(f"{str(path)!r} holds no results: run `python -m bench.grid --out {path}` first")
    if manifests:
        found.attrs[declared.KEPT] = declared.kept(manifests[0].metrics)
    frame = schema.check(found, str(path))
    frame.attrs["damaged"] = list(found.attrs.get("damaged", []))
    frame.attrs["yardsticks"] = _yardsticks(path / YARDSTICKS)
    return Run(path, choose(frame, where, str(path)), tuple(manifests), sources.of(path))


def _load(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if suffix in spreadsheet.SUFFIXES:
        return spreadsheet.read(path, (there := schema.columns_of()).known, there.numeric)
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


def _yardsticks(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{str(path)!r} is not valid JSON ({error})") from error
    if not isinstance(read, dict) or not all(isinstance(v, dict) for v in read.values()):
        raise UserError(f"{str(path)!r} is no table of yardsticks by dataset")
    for dataset, values in read.items():
        for key, value in values.items():
            if key.endswith(tuple(f"_{end}" for end in yardsticks.ENDS.values())) and not isinstance(
                value, (int, float, type(None))
            ):
                raise UserError(f"{str(path)!r}: {key} of {dataset!r} is {value!r}, not a number")
    return read


def ranked(run: Run) -> pd.DataFrame:
    """The rows that take part in the ranking: not those of the confirmation, nor of the later seeds of a race."""
    return phase(run.frame, "rank")


def phase(frame: pd.DataFrame, *names: str) -> pd.DataFrame:
    """The rows of some phases, with the frame's ``attrs``."""
    found = frame[frame["phase"].isin(names)]
    found.attrs.update(frame.attrs)
    return found
