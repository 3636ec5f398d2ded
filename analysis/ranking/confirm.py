"""The winner's curse, and its cure: who leads among many looks better than it is, so the top group is run again on
fresh seeds.

``python -m bench.grid --confirm K`` does that; here it is said which formulations, and how both compare. Where fresh
results are there, they are to be believed: the first ones chose the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ranking import ranking
from analysis.ranking.blocks import seed_count
from analysis.ranking.pending import settled
from analysis.results import run
from analysis.results.declared import COMPARED
from analysis.results.run import Run, phase
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


@dataclass(frozen=True, eq=False)
class Confirmation:
    """``first`` and ``fresh`` are rankings of the chosen formulations among themselves, on the seeds that chose them
    and on the fresh ``seeds``; ``table`` has both side by side, the best of the fresh first. While ``pending`` cells are
    still to come, ``fresh``, ``seeds`` and ``table`` are of what is finished (`analysis.ranking.pending`)."""

    why: str
    seeds: tuple[int, ...]
    first: pd.DataFrame
    fresh: pd.DataFrame
    table: pd.DataFrame
    pending: int

    @property
    def holds(self) -> bool:
        """Whether the same formulation leads on the fresh seeds."""
        return bool(self.first["formulation"].iloc[0] == self.fresh["formulation"].iloc[0])


def group(out: Path) -> tuple[tuple[str, ...], str]:
    """The formulations of a finished run that cannot be told from the best by their mean front index, best first, and
    why them. The best is never alone: the runner-up comes with it, as a rank among one says nothing.

    Raises `UserError` if the run has fewer than two seeds, as then nothing tells how much a seed matters, and if it has a
    single formulation.
    """
    found = ranking.of_run(run.read(out))
    about = found.attrs
    if about["seeds"] < 2:
        raise UserError(
            "--confirm needs at least 2 seeds of every dataset to know which formulations cannot be told from the best: "
            "run the grid with --seeds 2 or more first"
        )
    if len(found) < 2:
        raise UserError("--confirm needs at least 2 formulations to compare")
    seeds, best = f"over {seed_count(about['seed_counts'])}", tuple(map(str, found["formulation"].head(2)))
    if found["rank_tied"].isna().all():
        return best, f"the best by mean front index and its runner-up, without any difference {seeds}"
    tied = found["rank_tied"].fillna(False).astype(bool)
    tied.iloc[0] = True
    names = tuple(map(str, found.loc[tied, "formulation"]))
    if len(names) == 1:
        return best, f"the best by mean front index, separable from all others {seeds}, and its runner-up"
    why = f"not separable from the best by mean front index {seeds} (Hsu, family-wise 95 %)"
    return names, why


def confirmation(of: Run) -> Confirmation | None:
    """How the confirmation of a run compares with what it confirms; None if there is none, or nothing of it is done."""
    fresh = phase(of.frame, "confirm")
    if fresh.empty or not (fresh["status"] == "done").any():
        return None
    chosen = next((m.chosen for m in of.manifests if m.phase == "confirm"), {})
    names = set(fresh["formulation"])
    first = phase(of.frame, "rank")
    first = first[first["formulation"].isin(names)]
    cells = fresh.loc[fresh["status"] == "pending", "cell"].nunique() if "cell" in fresh else 0
    try:
        before = ranking.rank(first)
        fresh, _ = settled(fresh)
        after = ranking.rank(fresh.assign(phase="rank"))
        same = first[first["formulation"].isin(after["formulation"])]
        table = _beside(before if len(before) == len(after) else ranking.rank(same), after)
    except UserError:  # too little of it is done
        return None
    seeds = tuple(sorted(int(s) for s in fresh["seed"].unique()))
    return Confirmation(str(chosen.get("why", "")), seeds, before, after, table, int(cells))


def _beside(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Both rankings in one frame: ``rank_first``, ``rank_fresh``, ``clip_first`` and so on."""
    columns = ["rank_all", *(m for m in COMPARED if m in before and m in after)]
    left = before.set_index("formulation")[columns].add_suffix("_first")
    extra = [c for c in ("rank_tied",) if c in after]
    right = after.set_index("formulation")[columns].add_suffix("_fresh")
    table = right.join(left).join(after.set_index("formulation")[extra].add_suffix("_fresh"))
    order = [c for m in columns for c in (f"{m}_first", f"{m}_fresh")]
    return table[[*order, *(f"{c}_fresh" for c in extra)]].reset_index()
