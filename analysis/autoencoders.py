"""``python -m analysis.autoencoders RUN``: FID by depth on the latents of several autoencoders, under what they reconstruct.

The study (arXiv 2403.03206, table 3 and figure 10) compares autoencoders of 4, 8 and 16 channels: more channels reconstruct
better, and need deeper networks to generate as well.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

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

DEPTH = "model.depth"
RECONSTRUCTION = "reconstruction"
DIGEST = re.compile(r"(?<=ref=encoded-)[^-,\]]+")
"""Of a folder of latents, in the name of a FID: it differs between autoencoders of one data set."""
COLUMNS = ["network", "dataset", "fid", "low", "high", "seeds"]


def compared(found: run.Run) -> pd.DataFrame:
    """One row for each network and dataset: ``network`` is :data:`RECONSTRUCTION` or a depth; ``fid`` that of decoded
    training images, or the geometric mean over formulations, control settings and ``seeds``, infinite where a training
    diverged or failed; ``low`` and ``high`` its 95 % interval over seeds, by Student's t on logarithms, NaN of one seed.

    Raises `UserError` for results without recipes, for trainings that differ in more than their depth, and for FIDs by
    different recipes.
    """
    where, frame = f"{str(found.path)!r}", found.phase("rank").frame
    if "recipe" not in frame or frame["recipe"].isna().any():
        raise UserError(f"{where} has rows without a recipe: name a run folder of bench.grid")
    recipes = [str(recipe) for recipe in frame["recipe"].unique()]
    for field, values in recipe_fields.differing(recipes).items():
        if field != DEPTH:
            raise UserError(
                f"{where} has trainings that differ in more than their depth ({field} "
                f"{', '.join(map(str, values[:6]))}): name a run of one network and one recipe"
            )
    depths = frame["recipe"].map({recipe: recipe_fields.flat(recipe)[DEPTH] for recipe in recipes})
    known = {d: v for d, v in found.real_scores.items() if d in set(frame["dataset"]) and "fid_decoded" in v}
    names = {str(name) for name in frame.loc[frame["status"] == "done", "fid_name"]}
    names |= {str(v["fid_name"]) for v in known.values()}
    if len({DIGEST.sub("", name) for name in names}) > 1:
        raise UserError(
            f"{where} has FIDs by different recipes, which do not compare: {', '.join(sorted(names))}"
        )
    rows = [(RECONSTRUCTION, d, float(v["fid_decoded"]), np.nan, np.nan, 0) for d, v in known.items()]
    for (depth, dataset), part in frame.groupby([depths, "dataset"]):
        usable = (part["status"] == "done") & np.isfinite(part["fid"])
        logs = np.log(part["fid"].where(usable, np.inf)).groupby(part["seed"]).mean().to_numpy()
        rows.append((f"depth {depth}", str(dataset), *interval(logs), len(logs)))
    return pd.DataFrame(rows, columns=COLUMNS)


def interval(logs: np.ndarray) -> tuple[float, float, float]:
    """The exponential of the mean of ``logs`` ``[S]``, and the ends of its 95 % interval, NaN if there is none."""
    mean, count = float(logs.mean()), len(logs)
    if count < 2 or not np.isfinite(mean):
        return float(np.exp(mean)), np.nan, np.nan
    half = float(stats.t.ppf(0.975, count - 1) * logs.std(ddof=1) / count**0.5)
    return float(np.exp(mean)), float(np.exp(mean - half)), float(np.exp(mean + half))


def table(frame: pd.DataFrame) -> tables.Table:
    """A row for each network, with a column for each dataset and the one of the lowest FID."""
    shown = frame.assign(
        text=[
            f"{fid:.3f}" + (f" [{low:.3f}, {high:.3f}]" if np.isfinite(low) else "")
            for fid, low, high in zip(frame["fid"], frame["low"], frame["high"], strict=True)
        ]
    )
    order, datasets = list(dict.fromkeys(frame["network"])), list(dict.fromkeys(frame["dataset"]))
    wide = shown.pivot(index="network", columns="dataset", values="text").reindex(order)[datasets].fillna("")
    lowest = (
        frame.loc[frame.groupby("network")["fid"].idxmin()].set_index("network")["dataset"].reindex(order)
    )
    cells = wide.assign(lowest=lowest).rename_axis(columns=None).rename_axis("FID").reset_index()
    notes = ["each against its own held-out images: the folders must be of one data set"]
    if (frame["seeds"] == 1).any():
        notes.append("no interval of one seed")
    return tables.unmarked("autoencoders", frame, cells, notes=notes)


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    made = options.parser("autoencoders", "FID by depth on the latents of several autoencoders.")
    made.add_argument("results", type=Path, metavar="RUN", help="a run folder, as of --preset autoencoders")
    output.add_format(made)
    args = made.parse(argv)
    output.check_format(args.format)
    output.show([table(compared(run.read(args.results)))], args.format)
    return 0


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
