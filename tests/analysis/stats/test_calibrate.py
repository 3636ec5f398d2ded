"""The intervals hold: coverage at three seeds from 92 to 98 %, by simulation; and the command says what it finds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from analysis import calibrate
from analysis.calibrate import Case, cases, main
from analysis.stats import simulate

LEVELS = [case for case in cases() if case.interval in ("level", "difference", "best")]


def long(case: Case) -> tuple[pytest.MarkDecorator, ...]:
    """Quantiles of the best of many take seconds each."""
    return (pytest.mark.long,) if case.interval == "best" and case.formulations > 6 else ()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case, marks=long(case), id=f"{case.interval}-{case.formulations}-{case.correlation}-{case.noise}"
        )
        for case in LEVELS
    ],
)
def test_intervals_of_the_worst_formulation_hold_at_three_seeds(case: Case) -> None:
    hits = case.hits(np.random.default_rng(0), 3, 800)
    assert hits.mean(axis=0).min() >= 0.92 - 0.02  # two standard errors
    assert hits.mean() <= 0.995


def test_main_effects_hold() -> None:
    (case,) = (c for c in cases() if c.interval == "main effect" and c.formulations == 6)
    assert 0.92 <= case.hits(np.random.default_rng(0), 3, 400).mean() <= 0.98


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_positions_hold(spread: float) -> None:
    (case,) = (c for c in cases() if (c.interval, c.formulations, c.spread) == ("position", 6, spread))
    assert case.hits(np.random.default_rng(0), 3, 60).mean(axis=0) @ [1 / 6, 5 / 6] >= 0.92


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_win_rates_hold_in_95_percent_or_more(spread: float) -> None:
    (case,) = (c for c in cases() if (c.interval, c.spread) == ("win rate", spread))
    assert case.hits(np.random.default_rng(0), 3, 1000).mean() >= 0.95


def test_simulated_noise_has_the_correlation_that_it_is_asked_for() -> None:
    y = simulate.noise(np.random.default_rng(0), (40_000, 2, 1), correlation=0.8)[:, :, 0]
    assert np.corrcoef(y.T)[0, 1] == pytest.approx(0.8, abs=0.01)
    apart = simulate.noise(np.random.default_rng(0), (4000, 1, 50), kind="unequal")
    assert np.log(apart.std(axis=2)).std() == pytest.approx(simulate.UNEQUAL, abs=0.03)


def fake(coverage: float) -> Case:
    def hits(rng: np.random.Generator, seeds: int, simulations: int) -> np.ndarray:
        held = (np.arange(simulations) < coverage * simulations).astype(float)
        return np.stack([held, np.ones(simulations)], axis=1)

    return Case("level", 6, hits, 0.5)


def test_the_command_says_what_it_finds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "cases", lambda: iter(map(fake, (0.5, 0.91, 0.92, 0.98, 1.0))))
    assert main(["--simulations", "100", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["calibration"]
    assert [row["verdict"] for row in rows] == ["LOW", "LOW", "HIGH", "HIGH", "HIGH"]
    assert rows[0]["seeds_3"] == pytest.approx(0.5 / 6 + 5 / 6)
    assert [row["worst"] for row in rows] == [0.5, 0.91, 0.92, 0.98, 1.0]
    assert rows[0]["error"] == pytest.approx(0.05 / 6, rel=0.01)
    assert main(["--simulations", "100"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[2].split() == [
        "level",
        "6",
        "0.5",
        "equal",
        *["91.7", "%"] * 3,
        *["50.0", "%"],
        *["0.8", "%"],
        "LOW",
    ]
    assert "conservative by construction" in out


def test_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {c.interval for c in cases()} == {
        *["level", "difference", "best", "position"],
        "main effect",
        "win rate",
    }
    few = [c for c in cases() if c.formulations <= 6 and c.correlation != 0.8]
    monkeypatch.setattr(calibrate, "cases", lambda: iter(few))
    one, same, other = (calibrate.calibrate(4, seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)
    assert len(one) == len(few)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--simulations", "1"], "--simulations is 1"),
        (["--seed", "-1"], "--seed is -1"),
        (["--format", "tabel"], "did you mean 'table'"),
        (["--simulation", "5"], "did you mean '--simulations'"),
    ],
)
def test_mistakes_are_one_sentence(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
