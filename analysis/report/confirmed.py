"""What fresh seeds say, in sentences, about the formulations that were chosen for them."""

from __future__ import annotations

from analysis.ranking.confirm import Confirmation
from analysis.report.wording import SURE, listed, name, span
from analysis.tables.wording import count, others


def confirmed(found: Confirmation) -> list[str]:
    """What the fresh seeds say about those that were chosen."""
    first, fresh = found.first, found.fresh
    leader, before, names = fresh.names[0], first.names[0], fresh.names
    seeds = span(found.seeds)
    if len(names) == 1:
        why = "it alone was chosen" if len(first.names) == 1 else "no other is finished there"
        alone = f"Run again on fresh seeds ({seeds}), {name(leader)} has nothing to be compared with: {why}."
        return [alone, *_pending(found)]
    front = f"mean front {fresh.value('rank_all').iloc[0]:.2f} among the {len(names)} that were run again"
    if before not in names:
        return [
            f"The confirmation is not known yet: {name(before)} is not finished there.",
            *_pending(found),
        ]
    if found.holds:
        told = [f"Confirmed on fresh seeds ({seeds}): {name(leader)} leads again, with {front}."]
    else:
        was = float(fresh.value("rank_all")[before])
        then = f" {name(before)}, which led on the seeds that chose them, has {was:.2f}."
        told = [
            f"Not confirmed: on fresh seeds ({seeds}) {name(leader)} leads with {front}.{then} Believe the fresh seeds."
        ]
    tied = fresh.tied
    if tied.notna().any():
        alike = [n for n in names if n != leader and fresh.columns["rank_all"].not_separable[n]]
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
