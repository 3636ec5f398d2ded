"""Paths, targets and loss spaces against formulas and differential equations written independently."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator

from formulations import get, mix, split
from formulations.formulation import Formulation
from formulations.paths import PATHS

T = torch.linspace(0.03, 0.97, 48, dtype=torch.float64)


def path(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    c = get(f"x/{name}").coeffs(T)
    return c.a, c.b


def close(one: torch.Tensor, other: torch.Tensor, rtol: float = 1e-9) -> bool:
    return torch.allclose(one, other, rtol=rtol, atol=1e-12)


def ldm_table() -> tuple[np.ndarray, np.ndarray]:
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    bar = np.cumprod(1 - betas)
    return bar, np.log(bar / (1 - bar))


def test_ldm_linear_has_the_known_numbers() -> None:
    f = get("eps/linear")
    i = torch.arange(1000, dtype=torch.float64)
    c = f.coeffs(i / 999)
    x = 2 * torch.log(c.a / c.b)
    bar, log_snr = ldm_table()
    assert np.allclose(c.a.numpy() ** 2, bar, rtol=1e-10)
    assert np.allclose(x.numpy(), log_snr, rtol=1e-9)
    assert float(c.a[-1]) == pytest.approx(0.06826, abs=5e-6)
    assert (float(x[-1]), float(x[0])) == (pytest.approx(-5.364, abs=5e-4), pytest.approx(7.069, abs=5e-4))
    sigma = (c.b / c.a)[[0, -1]].tolist()
    assert sigma == [pytest.approx(0.0292, abs=5e-5), pytest.approx(14.615, abs=5e-4)]
    assert (float(x.mean()), float(x.std())) == (
        pytest.approx(-0.967, abs=5e-4),
        pytest.approx(2.39, abs=5e-3),
    )
    assert float(f.clock(torch.ones(1, dtype=torch.float64))) == pytest.approx(0.9360, abs=5e-5)


def test_ldm_linear_is_a_monotone_cubic_in_log_snr() -> None:
    """SciPy's PCHIP, with its derivative, which is no staircase: an Euler step in t uses it."""
    _, log_snr = ldm_table()
    t = torch.tensor([0.0, 0.4, 17, 500.25, 998.5, 999], dtype=torch.float64) / 999
    c, known = get("v/linear").coeffs(t), PchipInterpolator(np.arange(1000) / 999, log_snr)
    expected, at = known(t.numpy()), get("v/linear").point(t)
    rate = 2 * (at.da / at.a - at.db / at.b)
    assert np.allclose(rate.numpy(), known.derivative()(t.numpy()), rtol=1e-9)
    assert np.allclose((2 * torch.log(c.a / c.b)).numpy(), expected, rtol=1e-9)
    assert close(c.a**2 + c.b**2, torch.ones_like(t))
    assert get("v/linear").coeffs(t.float()).a.dtype == torch.float32


def test_zero_terminal_snr_is_the_rescaled_table() -> None:
    """sqrt(abar) shifted so that the last is 0 and scaled so that the first stays."""
    root = np.sqrt(ldm_table()[0])
    scaled = (root - root[-1]) * root[0] / (root[0] - root[-1])
    c = get("v/ztlinear").coeffs(torch.arange(1000, dtype=torch.float64) / 999)
    assert np.allclose(c.a.numpy(), scaled, atol=1e-9)
    assert float(c.a[-1]) == 0
    assert close(c.a**2 + c.b**2, torch.ones_like(c.a))


def test_paths_with_closed_forms() -> None:
    a, b = path("rf")
    assert close(a, 1 - T)
    assert close(b, T)
    a, b = path("cos")
    assert close(b / a, torch.tan(math.pi * T / 2))
    assert close(a**2 + b**2, torch.ones_like(T))
    a, b = path("ve")
    assert close(a, torch.ones_like(T))
    assert close(b / (1 + b), T)
    a, b = path("poly(3)")
    assert close(a + b, torch.ones_like(T))
    assert close(a, (1 - T) ** 3)
    a, b = path("trig(.4)")
    angle = torch.atan(b / a / 0.4)  # TrigFlow: t = atan(sigma / sd)
    assert close(angle, math.pi * T / 2)
    assert close(torch.hypot(a, b / 0.4), torch.ones_like(T))


def test_vp_solves_its_differential_equation() -> None:
    """d log a / dt = -beta(t) / 2 and a^2 + b^2 = 1, beta linear from 0.1 to 20."""
    f, h = get("eps/vp"), 1e-6
    up, down = f.coeffs(T + h), f.coeffs(T - h)
    slope = (torch.log(up.a) - torch.log(down.a)) / (2 * h)
    assert close(slope, -(0.1 + 19.9 * T) / 2, rtol=1e-6)
    assert close(up.a**2 + up.b**2, torch.ones_like(T))


@pytest.mark.parametrize("name", PATHS)
def test_every_path_goes_from_data_to_noise(name: str) -> None:
    f = get(f"x/{name}")
    s = f.clock(torch.linspace(1e-4, 1 - 1e-4, 2001, dtype=torch.float64))
    assert bool((s.diff() > 0).all())
    assert float(s[0]) < 0.06
    assert float(s[-1]) > 0.93 or name == "trig"


def test_velocity_is_the_derivative_of_the_path() -> None:
    h = 1e-6
    for name in ("rf", "cos", "vp(.1,20)", "poly(2.5)", "trig(.5)", "linear", "ztlinear"):
        f = get(f"u/{name}")
        t = T if "linear" not in name else (torch.arange(10, 900, 17, dtype=torch.float64) + 0.5) / 999
        up, down, c = f.coeffs(t + h), f.coeffs(t - h), f.coeffs(t)
        assert close(c.p, (up.a - down.a) / (2 * h), rtol=1e-5)
        assert close(c.q, (up.b - down.b) / (2 * h), rtol=1e-5)


def test_velocity_needs_no_gradient_mode_and_takes_any_layout() -> None:
    f = get("u/cos")
    with torch.no_grad():
        plain = f.coeffs(T)
    with torch.inference_mode():
        assert close(f.coeffs(T.clone()).p, plain.p)
    wide = f.coeffs(T[:1].expand(3, 5))
    assert wide.p.shape == (3, 5)
    assert f.coeffs(T[3]).p.shape == ()


def test_targets_are_what_they_are_called() -> None:
    x, n = torch.randn(2, 48, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name in ("rf", "cos", "vp(.1,20)"):
        for target in ("x", "eps", "v", "F(.5)"):
            c = get(f"{target}/{name}").coeffs(T)
            a, b, p, q = (z.reshape(-1, 1, 1, 1) for z in (c.a, c.b, c.p, c.q))
            out, x_t = p * x + q * n, mix(x, n, c)
            sigma = b / a
            skip, scale = 0.25 / (sigma**2 + 0.25), sigma * 0.5 / (sigma**2 + 0.25).sqrt()
            expected = {"x": x, "eps": n, "v": a * n - b * x, "F(.5)": (x - skip * x_t / a) / scale}[target]
            assert close(out, expected)
            assert torch.allclose(split(out, x_t, c)[0], x, atol=1e-9)


def test_trigflow_is_the_karras_target_on_its_path() -> None:
    """sd F = cos(t) z - sin(t) x with z = sd n, and input x_t / sd (sCM); our F has the opposite sign."""
    c = get("F(.5)/trig(.5)").coeffs(T)
    angle, sd = math.pi * T / 2, 0.5
    assert close(-c.p, -torch.sin(angle) / sd)
    assert close(-c.q, torch.cos(angle))
    assert close(c.c_in, torch.full_like(T, 1 / sd))


def test_inputs_and_clocks() -> None:
    for name in ("rf", "eps/cos", "v/linear", "x/vp", "u/poly"):
        c = get(name).coeffs(T)
        assert bool((c.c_in == 1).all())
        assert close(c.c_noise, c.b / (c.a + c.b))
    assert close(get("eps/ve").coeffs(T).c_in, 1 / torch.sqrt(1 + (T / (1 - T)) ** 2))
    assert close(get("edm(0,1,.3)").coeffs(T).c_in, 1 / torch.sqrt(0.09 + (T / (1 - T)) ** 2))


def decode(target: str, out: torch.Tensor, z: torch.Tensor, t: torch.Tensor) -> dict[str, torch.Tensor]:
    """x, eps and v of rectified flow z = (1 - t) x + t n from an output, |det| clamped at 0.05 as in JiT."""
    low = {"x": t, "eps": 1 - t, "u": torch.ones_like(t)}[target].clamp_min(0.05)
    if target == "x":
        return {"x": out * t / low, "eps": (z - (1 - t) * out) / low, "v": (z - out) / low}
    if target == "eps":
        return {"x": (z - t * out) / low, "eps": out * (1 - t) / low, "v": (out - z) / low}
    return {"x": z - t * out, "eps": z + (1 - t) * out, "v": out}


@pytest.mark.parametrize("target", ["x", "eps", "u"])
@pytest.mark.parametrize("space", ["x", "eps", "v"])
def test_the_nine_cells_of_jit(target: str, space: str) -> None:
    """Any output with any loss, on the straight path: the error of the decoded quantity."""
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    x, n, error = torch.randn(3, 99, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z = (1 - t) * x + t * n
    true = {"x": x, "eps": n, "u": n - x}[target]
    one, other = decode(target, true + error, z, t)[space], decode(target, true, z, t)[space]
    w = get(f"{target}/rf@{space}").coeffs(t).w
    own = {"x": "x", "eps": "eps", "u": "v"}[target] == space
    assert close(w * error**2, error**2 if own else (one - other) ** 2)


def test_v_space_on_variance_preserving_paths_is_the_error_of_v() -> None:
    """v = a n - b x of the decoded pair; for eps-prediction |dv| = |dn| / a, for x-prediction |dx| / b."""
    for name in ("cos", "linear", "vp"):
        a, b = path(name)
        safe = (a > 0.05) & (b > 0.05)
        assert close(get(f"eps/{name}@v").coeffs(T).w[safe], (1 / a**2)[safe])
        assert close(get(f"x/{name}@v").coeffs(T).w[safe], (1 / b**2)[safe])


def test_a_formulation_can_be_made_without_a_name() -> None:
    f = Formulation(lambda t: (1 - t, t), lambda at: (-1.0, 1.0), sampler="lognorm(0,1)")
    rf = get("rf/lognorm(0,1)")
    u = torch.linspace(0.1, 0.9, 9)
    assert all(
        torch.equal(one, other)
        for one, other in zip(f.coeffs(f.times(u)), rf.coeffs(rf.times(u)), strict=True)
    )


@pytest.mark.parametrize("name", ["v/cos", "u/poly(3)", "F(.5)/trig(.5)", "eps/vp"])
def test_clock_keeps_the_law_of_the_noise_level_on_every_path(name: str) -> None:
    """sCM's law sigma = exp(N(-1, 1.4)) and Hang et al.'s Laplace law of the log-SNR, off the straight path."""
    u = torch.linspace(0.02, 0.98, 97, dtype=torch.float64)
    f = get(f"{name}/clock(lognorm(-1,1.4))")
    sigma = f.point(f.times(u)).ratio
    expected = torch.exp(-1 + 1.4 * torch.special.ndtri(u))
    torch.testing.assert_close(sigma, expected, rtol=1e-6, atol=0)
    assert not torch.allclose(get(f"{name}/lognorm(-1,1.4)").times(u), f.times(u), rtol=0.01)
    laplace = get(f"{name}/clock(laplace(0,.5))")
    spread = laplace.point(laplace.times(u)).log_snr.abs()
    torch.testing.assert_close(spread, -0.5 * torch.log(1 - 2 * (u - 0.5).abs()), rtol=1e-5, atol=1e-8)
