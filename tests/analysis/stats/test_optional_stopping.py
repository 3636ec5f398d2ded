"""Looking after every seed, simulated: the looks against one interval at a time, and what the tables say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from analysis import calibrate
from analysis.stats import optional_stopping, sequential
from analysis.stats.optional_stopping import FIRST, NOISES, Looks, Stopping, power, stopping, stoppings


def test_every_look_is_the_interval_of_the_seeds_so_far() -> None:
    values = np.random.default_rng(0).normal(0.7, 1.3, (2, 3, 12))
    looks = Looks.at(values)
    assert looks.n.tolist() == list(range(FIRST, 13))
    half, fixed = looks.half_widths(0.01)
    for place in np.ndindex(2, 3):
        for i, n in enumerate(looks.n):
            so_far = values[place][: int(n)]
            found = sequential.interval(list(so_far), 0.01)
            assert looks.means[place][i] - half[place][i] == pytest.approx(found.low)
            usual = stats.ttest_1samp(so_far, 0.0).confidence_interval(0.99)
            assert looks.means[place][i] + fixed[place][i] == pytest.approx(usual.high)


@pytest.mark.parametrize("name", NOISES)
def test_noises_have_the_mean_zero(name: str) -> None:
    values = NOISES[name](np.random.default_rng(0), (1000, 1000))
    assert abs(values.mean()) < 5 * values.std() / 1000


def of(what: str, **fields: object) -> Stopping:
    (case,) = (
        c for c in stoppings() if c.what == what and all(getattr(c, k) == v for k, v in fields.items())
    )
    return case


@pytest.mark.parametrize(
    ("case", "usual"),
    [
        (of("interval", noise="normal"), 0.6),
        (of("interval", noise="unequal"), 0.6),
        (of("interval", noise="t with 3 df"), 0.6),
        (of("interval", noise="two log-normal 1"), 0.65),
        (of("equivalent", margin=0.5), 0.85),
        (of("equivalent", margin=2.0), 0.85),
        (of("race", formulations=6), 0.9),
        (of("race", formulations=17), 0.9),
    ],
    ids=lambda value: (
        f"{value.what}-{value.noise}-{value.formulations}" if isinstance(value, Stopping) else ""
    ),
)
def test_every_look_is_right_in_95_percent_where_the_t_interval_is_not(case: Stopping, usual: float) -> None:
    held, fixed = case.right(np.random.default_rng(0), 600).mean(axis=0)
    assert held >= 0.95 - 0.018  # two standard errors
    assert fixed < usual


@pytest.mark.parametrize("noise", ["log-normal 0.5", "log-normal 1", "exponential"])
def test_skewed_differences_break_it(noise: str) -> None:
    held, _ = of("interval", noise=noise).right(np.random.default_rng(0), 600).mean(axis=0)
    assert held < 0.95 - 0.018


def test_power_is_that_of_the_published_simulation() -> None:
    found = power(4000).set_index("effect")
    assert found.loc[0.5, "decided"] == pytest.approx(0.77, abs=0.02)
    assert found.loc[0.5, "median"] == pytest.approx(38, abs=2)
    assert found.loc[0.5, "most"] == np.inf
    for effect, (median, most) in {1.0: (12, 22), 2.0: (6, 9), 3.0: (5, 6)}.items():
        assert found.loc[effect, "decided"] == pytest.approx(1, abs=0.001)
        assert found.loc[effect, "median"] == median
        assert found.loc[effect, "most"] == pytest.approx(most, abs=1)
    assert (found["wrong"] < 0.005).all()


def test_the_table_names_what_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(share: float) -> Stopping:
        def right(rng: np.random.Generator, count: int) -> np.ndarray:
            held = np.arange(count) < share * count
            return np.stack([held, ~held], axis=1)

        return Stopping("interval", 2, "normal", 10, right, 1)

    monkeypatch.setattr(optional_stopping, "stoppings", lambda: map(fake, (0.5, 0.93, 0.94, 0.95, 1.0)))
    found = stopping(1000)
    assert found["verdict"].tolist() == ["LOW", "LOW", "ok", "ok", "ok"]  # an error is 0.0075 at 0.94
    assert found["held"].tolist() == [0.5, 0.93, 0.94, 0.95, 1.0]
    np.testing.assert_allclose(found["t_interval"], 1 - found["held"])
    assert found["error"].iloc[0] == pytest.approx(0.5 / 1000**0.5)


def test_simulations_come_in_batches_and_from_the_seed() -> None:
    assert sum(optional_stopping._batches(1234, 1000)) == 1234
    assert max(optional_stopping._batches(1234, 1000)) == 500
    assert list(optional_stopping._batches(2, 10**9)) == [1, 1]
    one, same, other = (stopping(8, seed) for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one.equals(other)


def test_the_command_prints_them_after_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibrate, "calibrate", lambda simulations, seed: calibrate.pd.DataFrame())
    assert calibrate.main(["--simulations", "20", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["calibration", "stopping", "power"]
    assert len(found["stopping"]) == len(list(stoppings()))
    assert [row["effect"] for row in found["power"]] == [0.5, 1.0, 2.0, 3.0]
    assert calibrate.main(["--simulations", "2"]) == 0
    out = capsys.readouterr().out
    assert "LOW of skewed differences is a limit of the method" in out
    assert "over 60" in out
