"""What the page says where fresh seeds were run."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from analysis.ranking.confirmation import Confirmation
from analysis.report import findings
from analysis.report.confirmed import confirmed

from ..rankings import SIX, plain, ranking


def confirmation(holds: bool, tied: tuple[bool | None, ...], pending: int = 0) -> Confirmation:
    names = [SIX[0], SIX[1], SIX[2]]
    first = ranking(names, (1.3, 1.9, 2.4), (True, True, True))
    order = names if holds else [names[1], names[0], names[2]]
    fresh = ranking(order, (1.2, 1.8, 2.6), tied)
    return Confirmation("made up", (1000, 1001, 1002), first, fresh, pd.DataFrame(), pending)


def test_fresh_seeds_come_first_where_they_confirm() -> None:
    made = findings.verdict(ranking(), {}, confirmation(True, (True, True, False)))
    assert plain(made.lead)[:3] == [
        "Confirmed on fresh seeds (1000 to 1002): rf/lognorm(0.00,1.00) leads again, with mean front 1.20 among the 3 that "
        "were run again.",
        "On these seeds eps/linear cannot be separated from it (Hsu, family-wise 95 %).",
        "On the seeds that chose them, rf/lognorm(0.00,1.00) leads with mean front 1.28; eps/linear, edm(-1.20,1.20) and "
        "rf/mode(1.29) cannot be separated from it at 3 seeds (Hsu, family-wise 95 %).",
    ]
    assert "--confirm" not in str(made)


def test_fresh_seeds_are_believed_where_they_do_not_confirm() -> None:
    made = findings.verdict(ranking(), {}, confirmation(False, (True, False, False), pending=1))
    assert plain(made.lead)[:3] == [
        "Not confirmed: on fresh seeds (1000 to 1002) eps/linear leads with mean front 1.20 among the 3 that were run "
        "again. "
        "rf/lognorm(0.00,1.00), which led on the seeds that chose them, has 1.80. Believe the fresh seeds.",
        "On these seeds it is separated from both others (Hsu, family-wise 95 %).",
        "Of the confirmation 1 cell is still to come.",
    ]


def test_one_that_is_run_again_alone_is_not_called_confirmed() -> None:
    first, fresh = (ranking(SIX[:1], (1.0,), (None,)) for _ in range(2))
    alone = Confirmation("made up", (1000,), first, fresh, pd.DataFrame(), 2)
    assert plain(confirmed(alone)) == [
        "Run again on fresh seeds (1000), rf/lognorm(0.00,1.00) has nothing to be compared with: it alone was chosen.",
        "Of the confirmation 2 cells are still to come.",
    ]
    chosen = replace(alone, first=ranking(SIX[:2], (1.0, 1.5), (None, None)))
    assert confirmed(chosen)[0].endswith("compared with: no other is finished there.")


def test_nothing_is_confirmed_or_refuted_before_the_leader_was_run_again() -> None:
    found = replace(
        confirmation(True, (True, True, False)), fresh=ranking(SIX[1:3], (1.2, 1.8), (True, True)), pending=3
    )
    assert plain(confirmed(found)) == [
        "The confirmation is not known yet: rf/lognorm(0.00,1.00) is not finished there.",
        "Of the confirmation 3 cells are still to come.",
    ]
