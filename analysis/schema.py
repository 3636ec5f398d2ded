"""The results table: its columns, and reading it from a run folder, parquet or CSV.

One row per formulation, dataset, seed and control setting.

===============
================================================================================================== formulation
canonical name, e.g. ``rf/lognorm(0.00,1.00)`` dataset          name of the training and validation data
weights          ``ema`` or ``raw``
steps, cfg       solver steps and guidance scale
clip             CLIP score, higher is better
fid              Frechet distance, lower is better
seed             optional, default 0
val_loss         optional, common validation loss of the evaluated checkpoint, lower is better
kid              optional, kernel distance, lower is better
composition      optional, share of pictures that show what the caption says, higher is better
status           optional, default ``done``; any other ranks last in its setting
clip_name, ...   optional, the full recipe of ``clip``, ``fid`` and ``kid``; one recipe per dataset
===============
==================================================================================================

Further columns are kept and not read.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samplers.errors import UserError, nearest
from samplers.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

REQUIRED = ("formulation", "dataset", "weights", "steps", "cfg", "clip", "fid")
KEY = ("formulation", "dataset", "seed", "weights", "steps", "cfg")
SETTING = ("dataset", "seed", "weights", "steps", "cfg")
METRICS = ("clip", "fid", "kid", "val_loss", "composition")
NAMES = ("clip_name", "fid_name", "kid_name")
STATUSES = ("done", "diverged", "failed", "missing")
HIGHER_IS_BETTER = {"clip": True, "fid": False, "kid": False, "val_loss": False, "composition": True}
RESULTS, YARDSTICKS = "results.parquet", "yardsticks.json"


def read(path: str | Path) -> pd.DataFrame:
    """The checked results table in a run folder, a ``.parquet`` or a ``.csv`` file.

    A run folder's ``yardsticks.json``, if there is one, is put in ``frame.attrs["yardsticks"]``.
    Raises `UserError` for a path that is absent, of another kind, damaged, or holds no valid table (`check`).
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"there is no {str(path)!r}: name a run folder, a .parquet or a .csv file")
    if not path.is_dir():
        return check(_load(path), str(path))
    file = path / RESULTS
    if not file.is_file():
        raise UserError(f"{str(path)!r} holds no {RESULTS}: run `python -m bench.grid --out {path}` first")
    frame = check(_load(file), str(file))
    if (path / YARDSTICKS).exists():
        frame.attrs["yardsticks"] = _yardsticks(path / YARDSTICKS)
    return frame


def check(frame: pd.DataFrame, where: str = "the table") -> pd.DataFrame:
    """A copy of ``frame`` with the schema's columns typed and defaults filled in.

    Raises `UserError` for missing columns, no rows, values of a wrong kind, duplicate rows, an unknown status
    and mixed recipes, naming the column and the row (counted from 1 without the header).
    """
    missing = [column for column in REQUIRED if column not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns[:20]))
        what = f"column{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        raise UserError(f"{where} lacks the {what}; it has {found}")
    if frame.empty:
        raise UserError(f"{where} has no rows: nothing was measured yet")
    out = frame.reset_index(drop=True).copy()
    for column in ("formulation", "dataset", "weights"):
        out[column] = _text(out, column, where)
    out["seed"] = _integers(out, "seed", where, lowest=0) if "seed" in out else 0
    out["steps"] = _integers(out, "steps", where, lowest=1)
    out["cfg"] = _numbers(out, "cfg", where, needed=True)
    for column in METRICS:
        if column in out:
            out[column] = _numbers(out, column, where)
    out["status"] = _status(out, where)
    for column in NAMES:
        if column in out:
            out[column] = out[column].astype(object).where(~_absent(out[column]), None)
    _check_unique(out, where)
    _check_recipes(out, where)
    return out


def recipe(name: str) -> dict[str, str]:
    """The parts of a metric's full name, e.g. ``{"extractor": .., "preprocessing": .., "ref": .., "n":
    ..}``."""
    match = re.fullmatch(r"(\w+)\[(.*)\]", name)
    if not match:
        return {"name": name}
    labels, parts = ["extractor", "preprocessing"], {"metric": match[1]}
    for part in match[2].split(","):
        key, equals, value = part.partition("=")
        if equals:
            parts[key] = value
        else:
            parts[labels.pop(0) if labels else f"part {len(parts)}"] = part
    return parts


def difference(one: str, other: str) -> str:
    """The parts in which two recipes differ, in words."""
    a, b = recipe(one), recipe(other)
    parts = [k for k in {**a, **b} if a.get(k) != b.get(k)]
    return "; ".join(f"{k} {a.get(k, 'absent')} against {b.get(k, 'absent')}" for k in parts)


def _load(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return _load_csv(path)
    if path.suffix != ".parquet":
        raise UserError(f"{str(path)!r} is of no known kind: choose a run folder, a .parquet or a .csv file")
    try:
        return pd.read_parquet(path)
    except PermissionError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except Exception as error:  # pyarrow raises many kinds for foreign and damaged files
        raise UserError(
            f"{str(path)!r} cannot be read as parquet: it is cut off, damaged or another format"
        ) from error


def _load_csv(path: Path) -> pd.DataFrame:
    """CSV with a header; every row must have as many fields as the header, which pandas would not insist
    on."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [
                (reader.line_num, row) for reader in [csv.reader(file, strict=True)] for row in reader if row
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{str(path)!r} cannot be read as CSV ({error})") from error
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if not rows:
        raise UserError(f"{str(path)!r} is empty")
    header = [name.strip() for name in rows[0][1]]
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise UserError(f"{str(path)!r} has the column {twice[0]!r} twice")
    for line, row in rows[1:]:
        if len(row) != len(header):
            counts = f"{len(row)} fields where the header has {len(header)}"
            raise UserError(f"{str(path)!r}, line {line}: {counts}; is the file cut off?")
    return pd.DataFrame([row for _, row in rows[1:]], columns=header, dtype=object)


def _yardsticks(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{str(path)!r} is not valid JSON ({error})") from error
    if not isinstance(read, dict) or not all(isinstance(v, dict) for v in read.values()):
        raise UserError(f"{str(path)!r} is no table of yardsticks by dataset")
    for dataset, values in read.items():
        for key, value in values.items():
            if key.endswith(("_real", "_shuffled")) and not isinstance(value, (int, float, type(None))):
                raise UserError(f"{str(path)!r}: {key} of {dataset!r} is {value!r}, not a number")
    return read


def _absent(values: pd.Series[Any]) -> pd.Series[Any]:
    text = values.astype(object).where(values.notna(), "").astype(str).str.strip().str.lower()
    return text.isin(["", "nan", "none", "na", "n/a", "null", "<na>"])


def _fail(column: str, bad: pd.Series[Any], values: pd.Series[Any], where: str, wanted: str) -> None:
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise UserError(f"{where}, row {row + 1}: {column} is {str(values.iloc[row])!r}, not {wanted}")


def _text(frame: pd.DataFrame, column: str, where: str) -> pd.Series[Any]:
    values = frame[column]
    _fail(column, values.isna() | (values.astype(str).str.strip() == ""), values, where, "a name")
    return values.astype(str).str.strip()


def _numbers(frame: pd.DataFrame, column: str, where: str, needed: bool = False) -> pd.Series[Any]:
    values = frame[column]
    absent = _absent(values)
    numbers = pd.to_numeric(values.where(~absent, None), errors="coerce").astype("float64")
    bad = numbers.isna() & (True if needed else ~absent)
    _fail(column, bad, values, where, "a number")
    return numbers


def _integers(frame: pd.DataFrame, column: str, where: str, lowest: int) -> pd.Series[Any]:
    numbers = _numbers(frame, column, where, needed=True)
    bad = (numbers % 1 != 0) | (numbers < lowest) | (numbers.abs() > 2**53)
    _fail(column, bad, frame[column], where, f"a whole number from {lowest}")
    return numbers.astype("int64")


def _status(frame: pd.DataFrame, where: str) -> pd.Series[Any]:
    if "status" not in frame:
        return pd.Series("done", index=frame.index, dtype=object)
    values = frame["status"].astype(object).where(~_absent(frame["status"]), "done").astype(str).str.strip()
    unknown = [value for value in values.unique() if value not in STATUSES]
    if unknown:
        raise UserError(f"{where} has the unknown status {unknown[0]!r}; {nearest(unknown[0], STATUSES)}")
    return values.astype(object)


def _check_unique(frame: pd.DataFrame, where: str) -> None:
    twice = frame.duplicated(list(KEY), keep=False)
    if twice.any():
        row = frame[twice].iloc[0]
        what = ", ".join(f"{column} {row[column]}" for column in KEY)
        raise UserError(f"{where} has {int(twice.sum())} rows that repeat one another, first: {what}")


def _check_recipes(frame: pd.DataFrame, where: str) -> None:
    for column in NAMES:
        if column not in frame:
            continue
        for dataset, names in frame.dropna(subset=[column]).groupby("dataset")[column]:
            found = list(names.astype(str).unique())
            if len(found) > 1:
                mixed = f"{len(found)} recipes of {column.removesuffix('_name')} on {dataset!r}"
                parts = difference(found[0], found[1])
                raise UserError(f"{where} mixes {mixed}, which cannot be compared: {parts}; rank them apart")
