"""What fresh seeds say, in sentences, about the formulations that were chosen for them."""

from __future__ import annotations

from analysis.ranking.confirm import Confirmation
from analysis.report.wording import SURE, listed, name, span
from analysis.tables.wording import count, others


def confirmed(found: Confirmation) -> list[str]:
    """What the fresh seeds say about those that were chosen."""
    first, fresh = found.first, found.fresh
    leader, before = str(fresh["formulation"].iloc[0]), str(first["formulation"].iloc[0])
    seeds = span(found.seeds)
    if len(fresh) == 1:
        why = "it alone was chosen" if len(first) == 1 else "no other is finished there"
        alone = f"Run again on fresh seeds ({seeds}), {name(leader)} has nothing to be compared with: {why}."
        return [alone, *_pending(found)]
    front = f"mean front {fresh['rank_all'].iloc[0]:.2f} among the {len(fresh)} that were run again"
    if before not in set(fresh["formulation"]):
        return [
            f"The confirmation is not known yet: {name(before)} is not finished there.",
            *_pending(found),
        ]
    if found.holds:
        told = [f"Confirmed on fresh seeds ({seeds}): {name(leader)} leads again, with {front}."]
    else:
        was = float(fresh.set_index("formulation")["rank_all"][before])
        then = f" {name(before)}, which led on the seeds that chose them, has {was:.2f}."
        told = [
            f"Not confirmed: on fresh seeds ({seeds}) {name(leader)} leads with {front}.{then} Believe the fresh seeds."
        ]
    tied = fresh["rank_tied"]
    if tied.notna().any():
        alike = [
            str(n) for n, t in zip(fresh["formulation"], tied.fillna(False), strict=True) if t and n != leader
        ]
        apart = int(tied.notna().sum()) - 1
        if alike:
            told.append(f"On these seeds {listed(alike)} cannot be told from it ({SURE}).")
        elif apart > 0:
            told.append(f"On these seeds it is told apart from {others(apart)} ({SURE}).")
    return [*told, *_pending(found)]


def _pending(found: Confirmation) -> list[str]:
    if not found.pending:
        return []
    return [
        f"Of the confirmation {count(found.pending, 'cell')} {'is' if found.pending == 1 else 'are'} still to come."
    ]
