"""Every weight against the formula of its authors, in the space where it is usually quoted."""

from __future__ import annotations

import math

import pytest
import torch

from formulations import get
from formulations.profile import curves

T = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)


def points(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """w, SNR and sigma of a formulation at ``T``."""
    c = get(name).coeffs(T)
    return c.w, (c.a / c.b) ** 2, c.b / c.a


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-9)


@pytest.mark.parametrize("path", ["cos", "linear", "vp"])
def test_min_snr_in_three_parametrisations(path: str) -> None:
    w, snr, _ = points(f"x/{path}+minsnr(5)")
    capped = snr.clamp_max(5)
    assert close(w, capped)
    assert close(points(f"eps/{path}+minsnr(5)")[0], capped / snr)
    assert close(points(f"v/{path}+minsnr(5)")[0], capped / (snr + 1))


def test_soft_min_snr_on_the_karras_output() -> None:
    """(sigma sd)^2 / (sigma^2 + sd^2)^2 with gamma = 1 / sd^2."""
    w, _, sigma = points("edm(0,1)+softminsnr(4)")
    assert close(w, (sigma * 0.5) ** 2 / (sigma**2 + 0.25) ** 2)
    w, snr, _ = points("x/cos+softminsnr(5)")
    assert close(w, 5 * snr / (snr + 5))
    w, snr, _ = points("eps/cos+softminsnr(5)")
    assert close(w, 5 / (snr + 5))


def test_p2() -> None:
    w, snr, _ = points("eps/linear+p2(1,.5)")
    assert close(w, 1 / torch.sqrt(1 + snr))
    w, snr, _ = points("v/linear+p2(2,1)")
    assert close(w, 1 / (2 + snr) * snr / (1 + snr))


def test_debiased() -> None:
    w, snr, _ = points("eps/cos+debiased")
    assert close(w, 1 / torch.sqrt(snr.clamp_max(1000)))
    w, snr, _ = points("x/cos+debiased(100)")
    assert close(w, snr / torch.sqrt(snr.clamp_max(100)))


@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/cos", "x/rf", "v/linear", "F(1)/ve"])
def test_sigmoid_is_a_weight_of_log_snr_on_every_path(name: str) -> None:
    """-d(lambda)/dt sigmoid(bias - lambda) |dn|^2 / 2 integrates to w(lambda) = sigmoid(bias - lambda)."""
    c = curves(get(f"{name}+sigmoid(1)"))
    inside = (c.log_snr.abs() < 4) & (torch.arange(len(c.log_snr)) % 40 == 0)
    ratio = c.weight[inside] / torch.sigmoid(1 - c.log_snr[inside])
    assert float(ratio.std() / ratio.mean()) < (0.01 if "linear" in name else 1e-4)


def test_sigmoid_on_rectified_flow_in_closed_form() -> None:
    """Velocity error: w = sigmoid(bias - lambda) (1 - t) / t, since rf itself has w(lambda) = t / (1 - t)."""
    assert close(points("rf+sigmoid(.5)")[0], torch.sigmoid(0.5 - 2 * torch.log((1 - T) / T)) * (1 - T) / T)


def test_edm_monotonic_is_edm_until_its_maximum_and_constant_beyond() -> None:
    """w(lambda) = N(lambda; 2.4, 2.4^2) (e^-lambda + 0.25), from the curve of edm(-1.2,1.2) itself."""
    edm, mono = curves(get("edm(-1.2,1.2)")), curves(get("rf+edmmono(-1.2,1.2,.5)"))
    x = mono.log_snr
    normal = torch.exp(-((x - 2.4) ** 2) / (2 * 2.4**2))
    formula = normal * (torch.exp(-x) + 0.25)
    peak = x[formula.argmax()]
    held = torch.where(x > peak, formula, formula.max())
    inside = x.abs() < 10
    ratio = (mono.weight / held)[inside]
    assert float(ratio.std() / ratio.mean()) < 1e-4
    printed = torch.exp(-((edm.log_snr - 2.4) ** 2) / (2 * 2.4**2)) * (torch.exp(-edm.log_snr) + 0.25)
    same = (edm.weight / printed)[edm.log_snr.abs() < 6]
    assert float(same.std() / same.mean()) < 1e-4
    assert float(edm.log_snr[edm.weight.argmax()]) == pytest.approx(float(peak), abs=0.05)


def test_bell_multiplies_the_native_loss() -> None:
    w = get("rf+bell").coeffs(T).w
    raw = torch.exp(-2 * (T - 0.5) ** 2) - math.exp(-0.5)
    assert float((w / raw).std()) < 1e-9
    grid = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    assert float(get("rf+bell").coeffs(grid).w.mean()) == pytest.approx(1, abs=1e-6)
    assert close(get("x/rf@v+bell").coeffs(T).w, w * get("x/rf@v").coeffs(T).w)


def test_weights_of_the_study_as_functions_of_log_snr() -> None:
    """In the paper: rf and v/cos exp(-lambda/2), eps/cos sech(lambda/2), rf/X times the density of X."""
    for name, weight in {
        "rf": lambda x: torch.exp(-x / 2),
        "v/cos": lambda x: torch.exp(-x / 2),
        "eps/cos": lambda x: 1 / torch.cosh(x / 2),
        "rf/lognorm(0,1)": lambda x: torch.exp(-x / 2) * lognorm(x),
        "edm/rf(B)": lambda x: torch.exp(-x / 2),
    }.items():
        c = curves(get(name))
        inside = c.log_snr.abs() < 7
        ratio = (c.weight / weight(c.log_snr))[inside]
        assert float(ratio.std() / ratio.mean()) < 1e-4, name


def lognorm(x: torch.Tensor) -> torch.Tensor:
    """Density of t for logit-normal(0, 1), as a function of lambda = -2 logit(t)."""
    t = torch.sigmoid(-x / 2)
    return torch.exp(-(x**2) / 8) / (t * (1 - t))
