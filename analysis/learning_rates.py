"""``python -m analysis.learning_rates RUN ...``: geometric means of FID over formulations, by data set and rate."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.runs import options, recipe_fields, run
from analysis.tables import output
from analysis.tables import table as tables
from flowbench._core.command import entry
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

RATE = "training.lr"


def means(paths: Sequence[Path]) -> pd.DataFrame:
    """One row for each data set, ``dataset``, with a column for each rate, ascending: the geometric mean of FID over
    formulations, seeds and control settings; infinite where a training diverged or failed, NaN for a rate not tried.

    Raises `UserError` for a table without recipes, and for runs of one data set that have different formulations.
    """
    found: dict[tuple[str, float], float] = {}
    compared: dict[str, set[str]] = {}
    for path in paths:
        frame = run.read(path).phase("rank").frame
        if "recipe" not in frame or frame["recipe"].isna().any():
            raise UserError(f"{str(path)!r} has rows without a recipe: name a run folder of bench.grid")
        rates = frame["recipe"].map({r: recipe_fields.flat(str(r))[RATE] for r in frame["recipe"].unique()})
        for (dataset, rate), rows in frame.groupby(["dataset", rates]):
            names = set(rows["formulation"])
            if compared.setdefault(str(dataset), names) != names:
                raise UserError(f"{str(path)!r} has other formulations on {dataset} than the runs before it")
            usable = ((rows["status"] == "done") & np.isfinite(rows["fid"])).all()
            found[str(dataset), float(str(rate))] = np.exp(np.log(rows["fid"]).mean()) if usable else np.inf
    table = pd.Series(found).unstack().reindex(list(compared))
    return table.rename_axis("dataset").reset_index()


def table(frame: pd.DataFrame) -> tables.Table:
    """The means, with the rate of the smallest."""
    rates = [rate for rate in frame if rate != "dataset"]
    best = frame[rates].idxmin(axis=1).map("{:g}".format)
    shown = frame.rename(columns={rate: f"{rate:g}" for rate in rates}).assign(chosen=best)
    columns: dict[str, Any] = {"dataset": ("data set", str)}
    columns |= {f"{rate:g}": (f"{rate:g}", tables.fixed(3)) for rate in rates} | {"chosen": ("chosen", str)}
    return tables.simple("learning_rates", shown, columns)


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser(
        "learning_rates", "The geometric mean of FID over formulations, by data set and learning rate."
    )
    made.add_argument("results", nargs="+", type=Path, metavar="RUN", help="run folders, archives or tables")
    output.add_format(made)
    args = made.parse(argv)
    output.show([table(means(args.results))], args.format)
    return 0


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
