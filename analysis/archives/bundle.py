"""The data files of an archived run (`analysis.archive`), made from a run folder: small, and without paths of the machine.

Of the cells it has what `analysis.runs.sources.Archive` reads, and the pictures that the sample sheet and the
page ask for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.ranking import ideal_columns
from analysis.runs import collect, networks, timings
from analysis.runs.private import without_paths
from analysis.runs.run import REAL_SCORES, Run
from analysis.runs.sources import (
    CELLS,
    CURVE,
    CURVES,
    PICTURE,
    PICTURES,
    PROBES,
    PROVENANCE,
    SAMPLE,
    SAMPLES,
    Pixels,
    Source,
    json_of,
)
from bench.runfolder.manifest import FILES, Manifest, PlannedCell
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

MOST_SAMPLES = 1_000_000
"""Bytes of values of single samples, compressed. Where they take more they are rounded, and if that does not do left out."""
BITS = 12
"""Of a rounded value's significand."""
MOST_PIXELS = 300_000
"""Bytes of pixels before compression: pictures that are asked for later than these are left out."""
LEFT_OUT_SAMPLES = "values of single samples: the forecast of seeds has no bound by the draw of captions"
ROUNDED_SAMPLES = f"digits of the values of single samples beyond 1 part in {2**BITS:,}"
LEFT_OUT_PICTURES = "pictures of some formulations"
LEFT_OUT_METRICS = "metrics that only some of the sources have"
INPUTS = ("data", "text_encoder", "architecture", "coefficients", "profile")
"""Entries of a cell's ``config.json`` that are kept; the configuration itself is in the plan."""
MEASURED = ("captions", "measuring", "solvers")
"""Entries of a ``result.json`` that are kept; numbers are in the table."""
_FOLDERS = re.compile(r"(?<![\w./~+…)\]}|])/(?:[^\s\"'`,;:()<>|/]+/)*(?=[^\s\"'`,;:()<>|/])")


def relative(text: str) -> str:
    """A text with only the last name of each absolute path: ``--out /home/me/runs/quick`` becomes ``--out quick``."""
    return _FOLDERS.sub("", text)


def check_names(run: Run) -> None:
    """Raise `UserError` for two data sets that are one without the folders that they lie in."""
    named: dict[str, str] = {}
    for dataset in map(str, run.frame["dataset"].unique()):
        if (other := named.setdefault(relative(dataset), dataset)) != dataset:
            raise UserError(
                f"{other} and {dataset} would both be {relative(dataset)!r} in an archive, which has no paths: "
                f"train on one of them from a folder of another name"
            )


def write(run: Run, out: Path, without: Collection[str] = ()) -> None:
    """Write the data files of a run into a folder that has none, and leave out what is ``without``."""
    _plans(run, out)
    _results(run, out)
    write_texts(run, out)
    write_values(run, out, without)


def write_texts(run: Run, out: Path) -> None:
    """Write the texts of all cells, by which a folder is known as an archive."""
    write_table(pd.DataFrame(_texts(run), columns=["cell", "file", "text"]), out / CELLS)


def write_values(run: Run, out: Path, already: Collection[str] = ()) -> None:
    """Write curves, values of single samples and pictures; note the commits, and what is left out, or was ``already``."""
    write_table(_curves(run), out / CURVES)
    left_out = _write_samples(pd.DataFrame(_samples(run), columns=list(SAMPLE)), out / SAMPLES, already)
    shown = Recorder(run.source)
    _look(replace(run, source=shown))
    if shown.rows:
        write_table(pd.DataFrame(shown.rows, columns=list(PICTURE)), out / PICTURES)
    if shown.refused or LEFT_OUT_PICTURES in already:
        left_out.append(LEFT_OUT_PICTURES)
    if LEFT_OUT_METRICS in already:
        left_out.append(LEFT_OUT_METRICS)
    noted = {"commits": sorted(run.source.commits()), "left_out": left_out}
    write_text(out / PROVENANCE, json.dumps(noted))


def _plans(run: Run, out: Path) -> None:
    """The plans, and the JSON files next to them."""
    for name in (*FILES.values(), REAL_SCORES, timings.TIMINGS, ideal_columns.FILE):
        if (run.path / name).is_file():
            write_object(out / name, atomic.known_object(run.path / name))


def _results(run: Run, out: Path) -> None:
    frame, _ = collect.collect(run.path, run.manifests)
    texts = [name for name in frame if not pd.api.types.is_numeric_dtype(frame[name])]
    shorter = {value: relative(value) for name in texts for value in frame[name].dropna().unique()}
    write_table(
        frame.assign(**{str(name): frame[name].replace(shorter) for name in texts}), out / collect.RESULTS
    )


def _cells(run: Run) -> Iterator[tuple[Manifest, PlannedCell]]:
    """All planned cells, each once."""
    seen: set[str] = set()
    for m in run.manifests:
        for cell in m.cells:
            if cell.id not in seen:
                seen.add(cell.id)
                yield m, cell


def _texts(run: Run) -> Iterator[tuple[str, str, str]]:
    """The files of cells, cut to what is read of them."""
    profiled: set[str] = set()
    for m, cell in _cells(run):
        config = {k: v for k, v in json_of(run.source, cell.id, "config.json").items() if k in INPUTS}
        profile = config.pop("profile", None)
        if isinstance(profile, dict) and cell.formulation not in profiled:  # the same for every seed
            profiled.add(cell.formulation)
            config["profile"] = {k: v for k, v in profile.items() if k != "density"}
        status = {
            k: v for k, v in json_of(run.source, cell.id, "status.json").items() if k not in collect.LOSSES
        }
        measured = json_of(run.source, cell.id, f"{m.evaluation}/result.json")
        result = {k: measured[k] for k in MEASURED if k in measured}
        if not result.get("solvers"):  # none is a plugin's
            result.pop("solvers", None)
        kept = {
            "config.json": relative(_compact(config)),
            "status.json": without_paths(_compact(status)).replace(
                "…", r"\u2026"
            ),  # as JSON has it when read again
            f"{m.evaluation}/result.json": _compact(result),
            "error.txt": without_paths(run.source.text(cell.id, "error.txt")),
        }
        yield from ((cell.id, name, text) for name, text in kept.items() if text)


def _compact(value: Mapping[Any, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True) if value else ""


def _curves(run: Run) -> pd.DataFrame:
    """The validations of all cells, also of those that diverged or are not finished."""
    rows = [{"cell": cell.id} | line for _, cell in _cells(run) for line in run.source.validations(cell.id)]
    numbers = [*CURVE, *(name for name in PROBES if any(name in row for row in rows))]
    frame = pd.DataFrame(rows, columns=["cell", *numbers])
    return frame.assign(**{name: _narrow(frame[name].astype("float64")) for name in numbers})


def _samples(run: Run) -> Iterator[tuple[str, str, str, Any]]:
    """The values that intervals are made of (`analysis.ranking.per_sample`, `analysis.ranking.fixed_draw`)."""
    for m, cell in _cells(run):
        for metric in ("clip", "fid"):
            for setting, values in run.source.samples(cell.id, m.evaluation, metric).items():
                yield cell.id, setting, metric, _narrow(pd.Series(values)).to_numpy()


def _write_samples(samples: pd.DataFrame, file: Path, already: Collection[str]) -> list[str]:
    """Write the values of single samples as exactly as fits, and no more exactly than some of them ``already`` are; returns
    what is left out."""
    if LEFT_OUT_SAMPLES in already:
        return [LEFT_OUT_SAMPLES]
    if ROUNDED_SAMPLES not in already:
        write_table(samples, file)
        if file.stat().st_size <= MOST_SAMPLES:
            return []
    write_table(samples.assign(values=samples["values"].map(_rounded)), file)
    if file.stat().st_size <= MOST_SAMPLES:
        return [ROUNDED_SAMPLES]
    file.unlink()
    return [LEFT_OUT_SAMPLES]


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """To `BITS` binary digits, so that the other bits of single precision are zero and take no room."""
    fraction, exponent = np.frexp(values.astype(np.float64))
    return np.asarray(np.ldexp(np.round(fraction * 2**BITS), exponent - BITS), dtype=np.float32)


def _narrow(values: pd.Series[float]) -> pd.Series[float]:
    """In single precision where that loses nothing."""
    single = values.astype("float32")
    return single if single.astype("float64").equals(values) else values


class Recorder:
    """Another source; notes the pictures that are asked of it, and has no more once they are `MOST_PIXELS`."""

    def __init__(self, source: Source) -> None:
        self.text, self.validations, self.samples = source.text, source.validations, source.samples
        self.commits = source.commits
        self._source = source
        self.rows: list[tuple[str, str, int, Any, bytes]] = []
        self.refused = False
        self._seen: set[tuple[str, str, int]] = set()
        self._size = 0

    def pictures(self, cell: str, sampling: str, setting: str, rows: Sequence[int]) -> Pixels | None:
        """See `analysis.runs.sources.Source`."""
        return self._noted(cell, setting, rows, self._source.pictures(cell, sampling, setting, rows))

    def real_images(self, dataset: str, caption: str, most: int) -> Pixels | None:
        """See `analysis.runs.sources.Source`."""
        found = self._source.real_images(dataset, caption, most)
        return self._noted(relative(dataset), caption, range(most), found)

    def _noted(self, owner: str, of: str, rows: Sequence[int], found: Pixels | None) -> Pixels | None:
        if found is None:
            return None
        new = [
            (owner, of, row, list(pixels.shape), pixels.tobytes())
            for row, pixels in zip(rows, found, strict=False)
            if (owner, of, row) not in self._seen
        ]
        size = self._size + sum(len(pixels) for *_, pixels in new)
        if size > MOST_PIXELS:
            self.refused = True
            return None
        self._size = size
        self._seen |= {(owner, of, row) for owner, of, row, *_ in new}
        self.rows += new
        return found


def _look(run: Run) -> None:
    """Ask for the pictures of the sample sheet, of the page and of its cards, the more important first; networks stand
    apart there."""
    from analysis import plots
    from analysis.ranking import ranking
    from analysis.report import gallery

    try:
        run = networks.separated(run)
        ranked = ranking.rank(run)
    except UserError:  # nothing that one ranking could show
        return
    plots.draw(run, ranked, ["samples"])
    gallery.gallery(run, ranked.names)


def write_table(frame: pd.DataFrame, file: Path) -> None:
    """Write a parquet file whose bytes depend on the frame only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    floats, texts = pa.types.is_floating, [f.name for f in table.schema if f.type == pa.string()]
    split = [f.name for f in table.schema if floats(f.type)]
    lists = [f for f in table.schema if pa.types.is_list(f.type)]
    split += [f"{f.name}.list.element" for f in lists if floats(f.type.value_type)]
    atomic.write_whole(
        file,
        lambda path: pq.write_table(
            table,
            path,
            compression="zstd",
            compression_level=19,
            use_dictionary=texts,
            use_byte_stream_split=split,
        ),
    )


def write_object(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object without paths."""
    write_text(file, relative(json.dumps(value, indent=1, sort_keys=True)) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text file whole."""
    atomic.write_text(file, text)
