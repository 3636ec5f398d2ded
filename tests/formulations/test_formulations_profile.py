"""Budget per noise level: the published table of shares, and the curves behind the picture."""

from __future__ import annotations

import pytest
import torch

from formulations import get
from formulations.profile import budget, curves

SHARES = {
    "rf": (20, 20, 20, 20, 20),
    "v/cos": (20, 20, 20, 20, 20),
    "rf/lognorm(0,1)": (8, 26, 32, 26, 8),
    "rf/mode(1.29)": (10, 17, 46, 17, 10),
    "rf/cosmap": (16, 22, 25, 22, 16),
    "eps/cos": (39, 33, 20, 7, 1),
    "eps/linear": (20, 39, 27, 11, 2),
    "v/linear": (7, 17, 19, 25, 32),
    "edm(-1.2,1.2)": (36, 26, 20, 14, 4),
    "x/rf@v": (17, 21, 21, 21, 21),
}
"""Percent of the loss per fifth of the clock, data to noise; computed by other code, by Monte Carlo."""


@pytest.mark.parametrize("name", SHARES)
def test_shares_of_the_budget(name: str) -> None:
    shares = [100 * z for z in budget(get(name))]
    assert shares == pytest.approx(SHARES[name], abs=1.0)
    assert sum(shares) == pytest.approx(100)


def test_lognorm_shares_are_its_probabilities() -> None:
    edges = torch.special.ndtr(torch.logit(torch.tensor([0, 0.2, 0.4, 0.6, 0.8, 1.0], dtype=torch.float64)))
    assert budget(get("rf/lognorm(0,1)")) == pytest.approx(edges.diff().tolist(), abs=1e-4)


def test_a_curriculum_has_two_budgets() -> None:
    f = get("rf/curriculum(lognorm(0,1),.5)")
    assert budget(f) == pytest.approx(budget(get("rf/lognorm(0,1)")))
    assert budget(f, progress=1.0) == pytest.approx([0.2] * 5, abs=1e-4)


@pytest.mark.parametrize(
    "name", ["rf/lognorm(0,1)", "rf/mode(1.29)", "eps/cos", "edm(-1.2,1.2)", "x/rf@v", "v/linear"]
)
def test_the_curves_are_densities_and_agree_with_the_shares(name: str) -> None:
    c = curves(get(name))
    assert bool((c.clock.diff() > 0).all())
    assert float(torch.trapezoid(c.density, c.clock)) == pytest.approx(1, abs=5e-3)
    assert float(torch.trapezoid(c.budget, c.clock)) == pytest.approx(1, abs=1e-6)
    middle = (c.clock >= 0.4) & (c.clock <= 0.6)
    share = float(torch.trapezoid(c.budget[middle], c.clock[middle]))
    assert share == pytest.approx(budget(get(name))[2], abs=0.01)


def test_density_of_rf_with_a_sampler_is_the_density_of_the_sampler() -> None:
    f = get("rf/lognorm(0.5,0.6)")
    c = curves(f)
    inside = slice(5, -5)
    assert torch.allclose(c.density[inside], f.law.pdf(c.clock[inside]), rtol=1e-3)
