"""Networks that are no better than untrained ones are ranked, but no leader among them is praised."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.ranking import ranking, untrained_rows, verdict
from analysis.report import contents, page
from analysis.runs import run

NAMES = ("rf", "v/cos", "eps/linear")


def results(losses: tuple[float, float, float], seeds: int = 3) -> pd.DataFrame:
    """``rf`` leads by far; the validation losses are so many times that of an untrained network."""
    rng = np.random.default_rng(0)
    rows = [
        {"formulation": name, "seed": seed, "steps": steps, "val_loss": 2 * loss * (1 + 0.001 * rng.normal())}
        | {"clip": 30 - 5 * place + 0.1 * rng.normal(), "fid": 5 + 5 * place + 0.1 * rng.normal()}
        for place, (name, loss) in enumerate(zip(NAMES, losses, strict=True))
        for seed in range(seeds)
        for steps in (5, 50)
    ]
    return pd.DataFrame(rows).assign(dataset="shapes", weights="ema", cfg=5.0, untrained_loss=2.0)


def answer_and_page(frame: pd.DataFrame, folder: Path) -> tuple[str, str]:
    """The answer on the terminal, and the text of the page above its ranking."""
    frame.to_csv(folder / "results.csv", index=False)
    about = run.read(folder / "results.csv")
    found = verdict.answer(ranking.rank(about), about)
    assert found is not None
    text = page.html(contents.read(about)).partition('<section id="ranking"')[0].partition("</style>")[2]
    return verdict.terminal(found), " ".join(unescape(re.sub(r"<[^>]+>", "", text)).split())


@pytest.mark.parametrize("losses", [(1.2, 1.3, 5.0), (0.95, 1.0, 1.0)])
@pytest.mark.parametrize("seeds", [1, 3])
def test_no_leader_is_named_among_untrained_networks(
    losses: tuple[float, float, float], seeds: int, tmp_path: Path
) -> None:
    answer, above = answer_and_page(results(losses, seeds), tmp_path)
    sentence = untrained_rows.NOTHING
    assert "more than 10 % below that of an untrained network" in sentence
    assert answer == f"Not trained: {sentence}"
    assert f"not trained {sentence}" in above
    for praise in ("ecided", "leads", "is better than", "apart", "--confirm", "agrees"):
        assert praise not in answer + above


@pytest.mark.parametrize("losses", [(1.2, 1.3, 0.5), (0.3, 0.3, 0.3)])
def test_one_trained_formulation_is_enough_for_a_comparison(
    losses: tuple[float, float, float], tmp_path: Path
) -> None:
    answer, above = answer_and_page(results(losses), tmp_path)
    assert answer == "Decided: rf is better than both others (3 seeds, family-wise 95 %)."
    assert "rf leads with mean front 1.00" in above


def test_tables_of_others_need_not_know_untrained_networks(tmp_path: Path) -> None:
    answer, _ = answer_and_page(results((5.0, 5.0, 5.0)).drop(columns="untrained_loss"), tmp_path)
    assert answer.startswith("Decided: rf")
