"""What fresh seeds show about the formulations that were chosen for them, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.ranking.confirmation import Confirmation
from analysis.report.phrases import SURE, listed, name, span
from analysis.tables.wording import count, others


def confirmed(found: Confirmation) -> list[str]:
    """What the fresh seeds show about the formulations that were chosen."""
    return [*_verdict(found), *_pending(found)]


def _verdict(found: Confirmation) -> Iterator[str]:
    first, fresh = found.first, found.fresh
    leader, before, names = fresh.names[0], first.names[0], fresh.names
    seeds = span(found.seeds)
    if len(names) == 1:
        why = "it alone was chosen" if len(first.names) == 1 else "no other is finished there"
        yield f"Run again on fresh seeds ({seeds}), {name(leader)} has nothing to be compared with: {why}."
        return
    if before not in names:
        yield f"The confirmation is not known yet: {name(before)} is not finished there."
        return
    front = f"mean front {fresh.value('rank_all').iloc[0]:.2f} among the {len(names)} that were run again"
    if found.holds:
        yield f"Confirmed on fresh seeds ({seeds}): {name(leader)} leads again, with {front}."
    else:
        was = float(fresh.value("rank_all")[before])
        then = f" {name(before)}, which led on the seeds that chose them, has {was:.2f}."
        yield (
            f"Not confirmed: on fresh seeds ({seeds}) {name(leader)} leads with {front}.{then} Believe the fresh seeds."
        )
    alike = [n for n in names if n != leader and fresh.columns["rank_all"].not_separable[n]]
    apart = int(fresh.tied.notna().sum()) - 1
    if alike:
        yield f"On these seeds {listed(alike)} cannot be separated from it ({SURE})."
    elif apart > 0:
        yield f"On these seeds it is separated from {others(apart)} ({SURE})."


def _pending(found: Confirmation) -> Iterator[str]:
    if found.pending:
        verb = "is" if found.pending == 1 else "are"
        yield f"Of the confirmation {count(found.pending, 'cell')} {verb} still to come."
