"""Quantile functions against laws written independently (scipy, closed forms, simulation)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import samplers

Array = np.ndarray[Any, np.dtype[np.float64]]
U = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000


def logit(t: Array) -> Array:
    return np.log(t) - np.log1p(-t)


def of_log_snr(law: Any) -> Callable[[Array], Array]:
    """CDF of t from a scipy law of the log-SNR on the straight path, lambda = 2 log((1 - t) / t)."""
    return lambda t: law.sf(-2 * logit(t))


def cosine_law(mu: float = 0.0, s: float = 1.0) -> Any:
    """sech(s (lambda - mu) / 2) s / (2 pi) is the hyperbolic secant law with scale 2 / (pi s)."""
    return stats.hypsecant(loc=mu, scale=1 / (s / 2))


def truncated(t: Array, m: float, s: float, lo: float, hi: float) -> Array:
    low, high = stats.norm.cdf((logit(np.array([lo, hi])) - m) / s)
    return np.clip((stats.norm.cdf((logit(t) - m) / s) - low) / (high - low), 0, 1)


def arcsine(t: Array) -> Array:
    return stats.arcsine.cdf(t)


def u_shape(t: Array, a: float) -> Array:
    """Integral of e^(a t) + e^(a (1 - t)), normalised."""
    return (np.expm1(a * t) + np.exp(a) - np.exp(a * (1 - t))) / (2 * np.expm1(a))


LAWS: dict[str, Callable[[Array], Array]] = {
    "uniform": lambda t: t,
    "lognorm(0,1)": lambda t: stats.norm.cdf(logit(t)),
    "lognorm(1,.6)": lambda t: stats.norm.cdf(logit(t), 1, 0.6),
    "lognorm(-.5,2.2)": of_log_snr(stats.norm(1.0, 4.4)),
    "mode(-1)": arcsine,
    "mode(0)": lambda t: t,
    "cosmap": of_log_snr(cosine_law()),
    "laplace(0,.5)": of_log_snr(stats.laplace(0, 0.5)),
    "laplace(1,2)": of_log_snr(stats.laplace(1, 2)),
    "cauchy(0,1)": of_log_snr(stats.cauchy(0, 1)),
    "cauchy(-1,.3)": of_log_snr(stats.cauchy(-1, 0.3)),
    "cosshift(-1.39)": of_log_snr(cosine_law(mu=-1.39)),
    "cosscale(2)": of_log_snr(cosine_law(s=2)),
    "beta(1.5,1)": stats.beta(1.5, 1).cdf,
    "beta(.3,4)": stats.beta(0.3, 4).cdf,
    "beta(200,90)": stats.beta(200, 90).cdf,
    "ushape(4)": lambda t: u_shape(t, 4),
    "trunclognorm(0,1,.05,1)": lambda t: truncated(t, 0, 1, 0.05, 1 - 1e-15),
    "trunclognorm(.5,2,.2,.7)": lambda t: truncated(t, 0.5, 2, 0.2, 0.7),
    "shift(3)": lambda t: t / (3 - 2 * t),
    "shift(.5,cosmap)": lambda t: of_log_snr(cosine_law())(t / (0.5 + 0.5 * t)),
    "mix(.9,lognorm(0,1))": lambda t: 0.9 * stats.norm.cdf(logit(t)) + 0.1 * t,
    "mix(.4,mode(-1))": lambda t: 0.4 * arcsine(t) + 0.6 * t,
    "mix(1,cosmap)": of_log_snr(cosine_law()),
    "mix(0,cosmap)": lambda t: t,
    "shift(2,mix(.5,beta(2,3)))": lambda t: 0.5 * stats.beta(2, 3).cdf(t / (2 - t)) + 0.5 * t / (2 - t),
}


@pytest.mark.parametrize("spec", LAWS)
def test_quantiles_follow_the_law(spec: str) -> None:
    """Kolmogorov-Smirnov distance of exact quantiles is 1 / (2 n), not a random number."""
    t = samplers.get(spec)(U).numpy()
    assert ((t >= 0) & (t <= 1)).all()
    # tails of cauchy reach beyond what float64 distinguishes from 0 and 1
    rounded = 5e-3 if spec.startswith("cauchy") else 0
    with np.errstate(divide="ignore"):
        distance = stats.kstest(t, lambda z: LAWS[spec](np.asarray(z))).statistic
    assert distance < 1.01 * 0.5 / len(t) + 1e-9 + rounded


@pytest.mark.parametrize("spec", LAWS)
def test_pdf_is_the_slope_of_the_law(spec: str) -> None:
    t = np.array([0.21, 0.3, 0.45, 0.6, 0.69])
    h = 1e-6
    slope = (LAWS[spec](t + h) - LAWS[spec](t - h)) / (2 * h)
    assert samplers.get(spec).pdf(torch.tensor(t)).numpy() == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("spec", LAWS)
def test_cdf_is_the_law(spec: str) -> None:
    t = np.array([0.01, 0.21, 0.3, 0.45, 0.6, 0.69, 0.99])
    assert samplers.get(spec).cdf(torch.tensor(t)).numpy() == pytest.approx(LAWS[spec](t), abs=1e-9)


@pytest.mark.parametrize(
    "spec",
    [n for n in samplers.names() if not n.startswith(("curriculum", "stretched", "mode(1.75", "cauchy"))],
)
def test_density_integrates_to_one(spec: str) -> None:
    pdf = samplers.get(spec).pdf
    z = torch.linspace(-40, 40, 4_001, dtype=torch.float64)
    t = torch.sigmoid(z)
    inside = (t > 1e-15) & (t < 1 - 1e-15)
    t, z = t[inside], z[inside]
    assert float(torch.trapezoid(pdf(t) * t * (1 - t), z)) == pytest.approx(1, abs=2e-3)


def test_mode_is_its_printed_map_and_has_the_stated_densities() -> None:
    for s in (-1.0, -0.54, 0.38, 1.29, 1.75):
        u = U.numpy()
        v = 1 - u  # the study's map falls
        written = 1 - v - s * (np.cos(np.pi * v / 2) ** 2 - 1 + v)
        assert samplers.get(f"mode({s})")(U).numpy() == pytest.approx(written, abs=1e-15)
        assert samplers.get(f"mode({s})").increasing
        if s > -1:
            ends, centre = samplers.get(f"mode({s})").pdf(torch.tensor([1e-9, 0.5])).tolist()
            assert ends == pytest.approx(1 / (1 + s), rel=1e-6)
            assert centre == pytest.approx(1 / (1 + s - s * math.pi / 2), rel=1e-9)
    assert float(samplers.get("mode(1.29)").pdf(torch.tensor(0.5))) == pytest.approx(3.79, abs=0.005)
    narrow = samplers.get("mode(1.75)")
    assert float(narrow.pdf(torch.tensor(0.5))) == pytest.approx(904, abs=2)
    share = narrow.cdf(torch.tensor([0.45, 0.55]))
    assert float(share[1] - share[0]) == pytest.approx(0.449, abs=5e-4)


def test_cosmap_is_its_printed_map_and_density() -> None:
    t = 1 - 1 / (np.tan(np.pi * U.numpy() / 2) + 1)
    assert samplers.get("cosmap")(U).numpy() == pytest.approx(t, abs=1e-12)
    density = samplers.get("cosmap").pdf(torch.tensor([0.0, 0.5, 1.0])).tolist()
    assert density == pytest.approx([2 / math.pi, 4 / math.pi, 2 / math.pi])
    end = samplers.get("cosmap")(torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert end.tolist() == [1.0, 0.0]  # no sign flip of the tangent at u = 1


@given(st.floats(0.1, 10), st.floats(-2, 2), st.floats(0.1, 3))
@settings(max_examples=50, deadline=None)
def test_shift_of_lognorm_is_lognorm(alpha: float, m: float, s: float) -> None:
    """+ ln(alpha) in the logit."""
    shifted = samplers.get(f"shift({alpha!r},lognorm({m!r},{s!r}))")(U[::50])
    moved = samplers.get(f"lognorm({m + math.log(alpha)!r},{s!r})")(U[::50])
    assert torch.allclose(shifted, moved, rtol=1e-12, atol=0)


def test_lognorm_tails_and_bimodality() -> None:
    """Peaks of the density: one for s <= sqrt(2) at m = 0, two beyond."""
    t = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    for spec, peaks in {
        "lognorm(0,1)": 1,
        "lognorm(0,1.4)": 1,
        "lognorm(0,1.8)": 2,
        "lognorm(1,2.2)": 2,
    }.items():
        rise = samplers.get(spec).pdf(t).diff() > 0
        assert int((rise[:-1] & ~rise[1:]).sum()) == peaks


def test_stretched_is_the_law_of_its_algorithm() -> None:
    """Draw, stretch between two percentiles, reflect at 1e-3, clamp at 1, replace a tenth by uniform."""
    draw = np.random.default_rng(0)
    m, s, n = 0.95, 1.0, 200_000
    low, high = 1 / (1 + np.exp(-(m + s * stats.norm.ppf([0.005, 0.999]))))
    y = (1 / (1 + np.exp(-draw.normal(m, s, n))) - low) / (high - low)
    y = np.clip(np.where(y < 1e-3, 2e-3 - y, y), 0, 1)
    y = np.where(draw.uniform(size=n) < 0.1, draw.uniform(1e-3, 1, n), y)
    t = samplers.get(f"stretched({m},{s},.1)")(U).numpy()
    assert stats.ks_2samp(t, y).pvalue > 0.01
    assert t.min() >= 1e-3
    pdf = samplers.get(f"stretched({m},{s},.1)").pdf
    mass, _ = integrate.quad(
        lambda z: float(pdf(torch.tensor(z, dtype=torch.float64))), 1e-3, 1 - 1e-9, limit=200
    )
    assert mass == pytest.approx(1 - 0.9 * 1e-3, abs=2e-4)  # what the clamp put on t = 1 has no density


def test_curriculum_switches_to_uniform_or_to_what_it_names() -> None:
    turned = samplers.get("curriculum(uniform,.5,lognorm(0,1))")
    assert torch.equal(turned(U, 0.49), U)
    assert torch.equal(turned(U, 0.5), samplers.get("lognorm(0,1)")(U))
    sampler = samplers.get("curriculum(lognorm(0,1),.5)")
    before, after = sampler(U, 0.49), sampler(U, 0.5)
    assert torch.equal(before, samplers.get("lognorm(0,1)")(U))
    assert torch.equal(after, U)
    shifted = samplers.get("shift(3,curriculum(lognorm(0,1),.5))")
    assert torch.equal(shifted(U, 1.0), samplers.get("shift(3)")(U))
    assert torch.equal(shifted(U, 0.0), samplers.get("shift(3,lognorm(0,1))")(U))
    mixed = samplers.get("mix(.5,curriculum(cosmap,.5))")
    assert torch.allclose(mixed(U, 1.0), U, atol=1e-12)


FAMILIES = {
    "lognorm({0},{1})": (st.floats(-2, 2), st.floats(0.05, 3)),
    "mode({0})": (st.floats(-1, 1.75),),
    "laplace({0},{1})": (st.floats(-3, 3), st.floats(0.1, 3)),
    "cauchy({0},{1})": (st.floats(-3, 3), st.floats(0.1, 3)),
    "cosshift({0})": (st.floats(-4, 4),),
    "cosscale({0})": (st.floats(0.2, 4),),
    "beta({0},{1})": (st.floats(0.2, 20), st.floats(0.2, 20)),
    "ushape({0})": (st.floats(0.1, 20),),
    "stretched({0},{1},{2})": (st.floats(-2, 2), st.floats(0.2, 2), st.floats(0, 1)),
    "shift({0},mode({1}))": (st.floats(0.1, 9), st.floats(-1, 1.75)),
    "mix({0},lognorm({1},{2}))": (st.floats(0, 1), st.floats(-2, 2), st.floats(0.05, 3)),
}


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_every_parameter_gives_a_monotone_map_into_the_unit_interval(
    family: str, data: st.DataObject
) -> None:
    sampler = samplers.get(family.format(*(repr(data.draw(s)) for s in FAMILIES[family])))
    t = sampler(torch.linspace(1e-5, 1 - 1e-5, 501, dtype=torch.float64))
    step = t.diff()
    assert bool((step >= 0).all()) or bool((step <= 0).all())
    assert float(t.min()) >= 0
    assert float(t.max()) <= 1


def test_float32_input_is_computed_in_float64_and_any_shape_is_kept() -> None:
    u = torch.rand(3, 5, generator=torch.Generator().manual_seed(1))
    for name in samplers.names():
        t = samplers.get(name)(u)
        assert t.dtype == torch.float64
        assert t.shape == u.shape


def test_clock_marks_the_sampler_and_survives_other_modifiers() -> None:
    plain, marked = samplers.get("laplace(0,0.5)"), samplers.get("clock(laplace(0,0.5))")
    assert marked.by_clock
    assert not plain.by_clock
    assert torch.equal(plain(U), marked(U))
    assert samplers.get("shift(3,clock(lognorm(0,1)))").by_clock
    turned = samplers.get("curriculum(clock(lognorm(0,1)),0.5)")
    assert turned.at(0.0).by_clock
    assert not turned.at(1.0).by_clock
