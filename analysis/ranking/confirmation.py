"""The winner's curse, and its cure: the leader among many looks better than it is, so the top group is run again on
fresh seeds.

``python -m bench.grid --confirm K`` runs the formulations that `group` chooses; `confirmation` compares both results. Fresh
results are to be believed: the first ones chose the group.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ranking.blocks import seed_count
from analysis.ranking.pending import settled
from analysis.ranking.ranking import rank
from analysis.ranking.result import RANK, RankingResult
from analysis.runs import run
from analysis.runs.declared import COMPARED
from analysis.runs.run import Run
from analysis.runs.schema import Results
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
    first: RankingResult
    fresh: RankingResult
    table: pd.DataFrame
    pending: int

    @property
    def holds(self) -> bool:
        """Whether the same formulation leads on the fresh seeds."""
        return self.first.names[0] == self.fresh.names[0]


def group(out: Path) -> tuple[tuple[str, ...], str]:
    """The formulations of a finished run that are not separable from the best by their mean front index, best first, and
    why them. The best is never alone: the runner-up comes with it, as a rank among one has no meaning.

    Raises `UserError` if the run has fewer than two seeds, as then nothing shows how much a seed matters, and if it has a
    single formulation.
    """
    found = rank(run.read(out))
    if found.facts.seeds < 2:
        raise UserError(
            "--confirm needs at least 2 seeds of every dataset to find the formulations that are tied with the best: "
            "run the grid with --seeds 2 or more first"
        )
    if len(found.names) < 2:
        raise UserError("--confirm needs at least 2 formulations to compare")
    seeds, best = f"over {seed_count(found.facts.seed_counts)}", found.names[:2]
    if found.tied.isna().all():
        return best, f"the best by mean front index and its runner-up, without any difference {seeds}"
    alike = found.columns[RANK].not_separable
    names = tuple(name for name in found.names if alike[name] or name == best[0])
    if len(names) == 1:
        return best, f"the best by mean front index, separable from all others {seeds}, and its runner-up"
    why = f"not separable from the best by mean front index {seeds} (Hsu, family-wise 95 %)"
    return names, why


def confirmation(of: Run) -> Confirmation | None:
    """How the confirmation of a run compares with what it confirms; None if there is none, or nothing of it is done."""
    fresh = of.phase("confirm").frame
    if fresh.empty or not (fresh["status"] == "done").any():
        return None
    chosen = next((m.chosen for m in of.manifests if m.phase == "confirm"), {})
    first = Results(of.phase("rank").formulations(*fresh["formulation"]).frame, of.metrics, where=of.where)
    cells = fresh.loc[fresh["status"] == "pending", "cell"].nunique() if "cell" in fresh else 0
    try:
        before = rank(first)
        fresh, _ = settled(fresh)
        after = rank(Results(fresh.assign(phase="rank"), of.metrics, where=of.where))
        same = before if len(before.names) == len(after.names) else rank(first.formulations(*after.names))
    except UserError:  # too little of it is done
        return None
    seeds = tuple(sorted(int(s) for s in fresh["seed"].unique()))
    return Confirmation(str(chosen.get("why", "")), seeds, before, after, _joined(same, after), int(cells))


def _joined(before: RankingResult, after: RankingResult) -> pd.DataFrame:
    """Both rankings in one frame: ``rank_all_first``, ``rank_all_fresh``, ``clip_first`` and so on, ``rank_tied_fresh``."""
    columns = [c for c in (RANK, *COMPARED) if c in before.columns and c in after.columns]
    pairs = {
        f"{column}_{when}": result.value(column)
        for column in columns
        for when, result in (("first", before), ("fresh", after))
    }
    return pd.DataFrame(pairs | {"rank_tied_fresh": after.tied}, index=after.counts.index).reset_index()
