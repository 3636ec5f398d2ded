"""Shifts by the number of image tokens: the formulas, and what a name becomes."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

import formulations
import samplers
from flowbench._core.errors import UserError
from samplers.resolution_shift import at_tokens, flux_alpha, needs_tokens, sd3_alpha

U = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)


@pytest.mark.parametrize(
    ("tokens", "mu", "alpha"), [(256, 0.5, 1.65), (1024, 0.63, 1.88), (4096, 1.15, 3.16)]
)
def test_the_rule_of_flux_has_its_published_ends(tokens: int, mu: float, alpha: float) -> None:
    assert math.log(flux_alpha(tokens)) == pytest.approx(mu, abs=1e-12)
    assert round(flux_alpha(tokens), 2) == alpha


def test_the_rule_of_sd3_is_the_root_of_the_ratio_of_pixels() -> None:
    """From 256 to 1,024 pixels, 256 to 4,096 tokens: 4; a shift keeps the deviation of the noise at equal coarseness."""
    assert [sd3_alpha(n, 256) for n in (64, 256, 1024, 4096)] == [0.5, 1, 2, 4]
    t, m, n = 0.3, 4096, 256  # equation 21: sigma(t, n) = t / (1 - t) / sqrt(n) is the same at t_m and m
    shifted = sd3_alpha(m, n) * t / (1 + (sd3_alpha(m, n) - 1) * t)
    assert shifted / (1 - shifted) / math.sqrt(m) == pytest.approx(t / (1 - t) / math.sqrt(n))


@pytest.mark.parametrize("inner", ["uniform", "lognorm(0,1)"])
@pytest.mark.parametrize(("rule", "tokens"), [("fluxshift({})", 1024), ("sd3shift(256,{})", 4096)])
def test_the_log_snr_falls_by_twice_the_logarithm_of_alpha(rule: str, tokens: int, inner: str) -> None:
    alpha = flux_alpha(tokens) if rule.startswith("flux") else sd3_alpha(tokens, 256)
    t = formulations.get(f"rf/{at_tokens(rule.format(inner), tokens)}").times(U)
    plain = U if inner == "uniform" else torch.sigmoid(torch.from_numpy(norm.ppf(U.numpy())))
    moved = 2 * (torch.logit(t) - torch.logit(plain))
    torch.testing.assert_close(moved, torch.full_like(U, 2 * math.log(alpha)), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("rf", "rf"),
        ("fluxshift", "shift(1.878)"),
        ("rf/fluxshift(lognorm(0,1))@x+bell", "rf/shift(1.878,lognorm(0.00,1.00))@x+bell"),
        ("rf/curriculum(sd3shift(256), .5)", "rf/curriculum(shift(2.00), .5)"),
        ("*/sd3shift(cosmap,64)", "*/shift(4.00,cosmap)"),
        ("rf/fluxshift(sd3shift(256))", "rf/shift(1.878,shift(2.00))"),
        ("my/fluxshifted", "my/fluxshifted"),
        ("fluxshift.py:late", "fluxshift.py:late"),
    ],
)
def test_a_name_holds_its_alpha(name: str, resolved: str) -> None:
    assert at_tokens(name, 1024) == resolved
    assert needs_tokens(name) == (name != resolved)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fluxshift(2)", "the form is 'fluxshift'"),
        ("sd3shift", "the form is 'sd3shift(base)'"),
        ("sd3shift(0)", "base > 0"),
        ("sd3shift(1", "matching parentheses"),
    ],
)
def test_mistakes_are_one_sentence(name: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        at_tokens(name, 1024)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["fluxshift", "mix(.5,sd3shift(256))"])
def test_without_a_network_there_is_no_alpha(name: str) -> None:
    with pytest.raises(UserError, match=r"depends on the number of image tokens.*write shift\(alpha\)"):
        samplers.get(name)
