"""The algebra of the seven scalars against formulas written without it."""

from __future__ import annotations

import math

import pytest
import torch

from formulations import Coeffs, common, get, log_snr, loss, match, mix, names, split
from formulations.grids import relative_det

LEVELS = (torch.arange(8, dtype=torch.float64) + 0.5) / 8
ALL = names("all")
HEADLINE = (
    "rf",
    "eps/cos",
    "v/cos",
    "eps/linear",
    "v/linear",
    "edm(-1.2,1.2)",
    "x/rf@v",
    "F(1)/ve",
    "u/poly",
)


def images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread(z: torch.Tensor) -> torch.Tensor:
    return z.reshape(*z.shape, 1, 1, 1)


@pytest.mark.parametrize("name", ALL)
def test_one_optimum_has_one_common_loss(name: str) -> None:
    """The best denoiser of N(0, S^2) data has the same common loss in each parametrisation."""
    f, (x, n), deviation = get(name), images(2, 8), 0.5
    x = deviation * x
    c = f.coeffs(f.at_clock(LEVELS))
    x_t = mix(x, n, c)
    power = spread(c.a**2 * deviation**2 + c.b**2)
    out = spread(c.p) * spread(c.a) * deviation**2 / power * x_t + spread(c.q) * spread(c.b) / power * x_t
    s = spread(LEVELS)  # the same with rectified flow's own formulas: v = n - x, E[v | z] linear in z
    z = (1 - s) * x + s * n
    velocity = (s - (1 - s) * deviation**2) / ((1 - s) ** 2 * deviation**2 + s**2) * z
    expected = (velocity - (n - x)).square().mean((1, 2, 3))
    assert torch.allclose(loss(out, x, n, common(c)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "native"),
    [
        ("rf", 0.788),
        ("eps/cos", 0.357),
        ("v/cos", 0.518),
        ("eps/linear", 0.357),
        ("v/linear", 0.518),
        ("edm", 1.0),
    ],
)
def test_native_losses_of_that_optimum_rank_units(name: str, native: float) -> None:
    """Var(p x + q n | x_t) = det^2 S^2 / (a^2 S^2 + b^2) for S = 0.5, averaged over the eight levels."""
    f = get(name)
    c = f.coeffs(f.at_clock(LEVELS))
    left = (c.a * c.q - c.b * c.p) ** 2 * 0.25 / (c.a**2 * 0.25 + c.b**2)
    assert float((c.w * left).mean()) == pytest.approx(native, abs=2e-3)
    assert float((common(c).w * left).mean()) == pytest.approx(0.788, abs=2e-3)


@pytest.mark.parametrize("name", ALL)
def test_round_trip(name: str) -> None:
    f, (x, n) = get(name), images(2, 40, seed=1)
    c = f.coeffs(f.grid(40))
    clean, noise = split(spread(c.p) * x + spread(c.q) * n, mix(x, n, c), c)
    assert torch.allclose(clean, x, atol=1e-6)
    assert torch.allclose(noise, n, atol=1e-6)


def test_edm_loss_is_karras_loss_on_the_denoised_image() -> None:
    """lambda(sigma) |D - x|^2, D = c_skip (x + sigma n) + c_out F, written as in the EDM paper."""
    f, (x, n, out) = get("edm(-1.2,1.2)"), images(3, 64, seed=2)
    t = f.times((torch.arange(64, dtype=torch.float64) + 0.5) / 64)
    sigma, sd = t / (1 - t), 0.5
    c_skip = sd**2 / (sigma**2 + sd**2)
    c_out = sigma * sd / (sigma**2 + sd**2).sqrt()
    denoised = spread(c_skip) * (x + spread(sigma) * n) + spread(c_out) * out
    weight = (sigma**2 + sd**2) / (sigma * sd) ** 2
    karras = weight * (denoised - x).square().mean((1, 2, 3))
    c = f.coeffs(t)
    assert torch.allclose(loss(out, x, n, c), karras, rtol=1e-12)
    assert torch.allclose(split(out, mix(x, n, c), c)[0], denoised, rtol=1e-9, atol=1e-12)
    assert torch.allclose(c.c_in, 1 / (sigma**2 + sd**2).sqrt())
    assert torch.allclose(c.c_noise, sigma.log() / 4)
    assert torch.equal(c.w, torch.ones_like(c.w))


def test_edm_times_are_its_log_normal_law() -> None:
    u = (torch.arange(999, dtype=torch.float64) + 0.5) / 999
    normal = torch.distributions.Normal(0.0, 1.0).icdf(u)
    for mean, deviation in ((-1.2, 1.2), (0.6, 0.6)):
        t = get(f"edm({mean},{deviation})").times(u)
        assert torch.allclose(torch.log(t / (1 - t)), mean + deviation * normal, atol=1e-9)
    sigma = {
        name: get(name).times(u) / (1 - get(name).times(u)) for name in ("edm/rf", "edm/cos", "edm/rf(B)")
    }
    assert torch.allclose(sigma["edm/rf"], u / (1 - u))
    assert torch.allclose(sigma["edm/cos"], torch.tan(math.pi / 2 * u))
    assert torch.allclose(sigma["edm/rf(B)"], 0.5 * torch.tan(math.pi / 2 * u))


def test_edm_with_unit_deviation_is_v_prediction() -> None:
    edm, v = get("F(1)/ve"), get("v/cos")
    one, other = edm.coeffs(edm.at_clock(LEVELS)), v.coeffs(v.at_clock(LEVELS))
    assert torch.allclose(one.c_in * one.a, other.a)
    assert torch.allclose(one.c_in * one.b, other.b)
    assert torch.allclose(-one.p, other.p)
    assert torch.allclose(-one.q, other.q)


def test_one_step_of_split_and_mix_is_euler_for_rectified_flow_and_edm() -> None:
    x_t, out = images(2, 5, seed=3)
    t = torch.tensor([0.9, 0.7, 0.5, 0.3, 0.2], dtype=torch.float64)
    s = t - 0.1
    rf = get("rf")
    step = mix(*split(out, x_t, rf.coeffs(t)), rf.coeffs(s))
    assert torch.allclose(step, x_t + spread(s - t) * out, rtol=1e-10)
    edm = get("edm")
    here, there = edm.coeffs(t), edm.coeffs(s)
    clean, _ = split(out, x_t, here)
    euler = x_t + spread(there.b - here.b) * (x_t - clean) / spread(here.b)  # dx/dsigma = (x - D) / sigma
    assert torch.allclose(mix(*split(out, x_t, here), there), euler, rtol=1e-10)


def test_guidance_on_the_output_is_guidance_on_the_clean_estimate() -> None:
    with_text, without, x_t = images(3, 8, seed=4)
    for name in HEADLINE:
        f = get(name)
        c = f.coeffs(f.at_clock(LEVELS))
        guided = split(without + 5 * (with_text - without), x_t, c)[0]
        one, other = split(with_text, x_t, c)[0], split(without, x_t, c)[0]
        assert torch.allclose(guided, other + 5 * (one - other), rtol=1e-8, atol=1e-9)


def test_members_share_data_and_equal_a_loop() -> None:
    x, n = images(2, 6, seed=5)
    u = (torch.arange(6, dtype=torch.float64) + 0.5) / 6
    each = [get(name).coeffs(get(name).times(u)) for name in HEADLINE]
    stacked = Coeffs(*(torch.stack(z) for z in zip(*each, strict=True)))
    out = images(len(HEADLINE), 6, seed=6)
    losses = loss(out, x, n, stacked)
    assert losses.shape == (len(HEADLINE), 6)
    for i, c in enumerate(each):
        assert torch.equal(losses[i], loss(out[i], x, n, c))
        assert torch.equal(mix(x, n, stacked)[i], mix(x, n, c))
        assert torch.equal(split(out, mix(x, n, stacked), stacked)[0][i], split(out[i], mix(x, n, c), c)[0])
    assert (
        loss(out.bfloat16(), x.float(), n.float(), Coeffs(*(z.float() for z in stacked))).dtype
        == torch.float32
    )


def test_the_loss_gradient_reaches_the_output_only_through_its_own_sample() -> None:
    c = get("rf").coeffs(torch.tensor([0.2, 0.6]))
    out = images(2).float().requires_grad_()
    loss(out, images(2, seed=1).float(), images(2, seed=2).float(), c)[0].backward()
    assert out.grad is not None
    assert bool((out.grad[0] != 0).all())
    assert bool((out.grad[1] == 0).all())


@pytest.mark.parametrize("name", ALL)
def test_clock_is_inverted_and_reaches_the_eight_validation_levels(name: str) -> None:
    f = get(name)
    t = f.at_clock(LEVELS)
    assert torch.allclose(f.clock(t), LEVELS, atol=1e-9)
    c = f.coeffs(t)
    assert torch.allclose(log_snr(c), 2 * torch.log((1 - LEVELS) / LEVELS), atol=1e-7)
    assert f.at_clock(LEVELS.float()).dtype == torch.float32


@pytest.mark.parametrize("name", match(["*"], "all"))
def test_grids_descend_from_a_decodable_start(name: str) -> None:
    f = get(name)
    for steps in (1, 5, 50):
        for grid in (f.grid(steps), f.clock_grid(steps)):
            assert grid.shape == (steps,)
            assert grid.dtype == torch.float64
            assert float(grid[0]) == pytest.approx(f.start, abs=1e-9)
            assert bool((grid.diff() < 0).all())
            assert float(grid[-1]) > f.domain[0]
            assert float(relative_det(f, grid).min()) > 1e-3


def test_starts() -> None:
    """At t = 1 where the output can be decoded there; else where b / a = 80."""
    for name in ("rf", "v/cos", "x/rf", "eps/linear", "v/linear", "v/ztlinear", "F/trig", "eps/vp"):
        assert get(name).start == 1
    assert get("eps/cos").start == pytest.approx(2 / math.pi * math.atan(80))
    assert get("eps/rf").start == pytest.approx(80 / 81)
    assert get("edm").start == pytest.approx(80 / 81)


def test_grids_are_what_they_say() -> None:
    assert get("rf").grid(5).tolist() == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    k = torch.arange(18, dtype=torch.float64)
    karras = (80 ** (1 / 7) + k / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    t = get("edm").grid(18)
    assert torch.allclose(t / (1 - t), karras, rtol=1e-9)
    clock = get("v/cos").clock(get("v/cos").clock_grid(4))
    assert clock.tolist() == pytest.approx([1, 0.75, 0.5, 0.25])
    with pytest.raises(ValueError, match="at least one step"):
        get("rf").grid(0)


def test_a_level_that_a_path_never_reaches_is_refused() -> None:
    with pytest.raises(ValueError, match=r"eps/linear has no time whose clock .* is 0.99"):
        get("eps/linear").at_clock(torch.tensor([0.5, 0.99]))


def test_times_are_clamped_typed_and_of_any_shape() -> None:
    for name in ALL:
        f = get(name)
        u = torch.tensor([[0.0, 0.3], [1.0, 0.999]])
        t = f.times(u)
        assert t.dtype == torch.float32
        assert t.shape == u.shape
        assert bool((t >= 1e-6).all())
        assert bool((t < 1).all())
        assert all(bool(z.isfinite().all()) and z.dtype == torch.float32 for z in f.coeffs(t))
        assert f.times(u.bfloat16()).dtype == torch.float32
    assert torch.equal(get("rf").times(torch.tensor([0.25]).double()), torch.tensor([0.25]).double())


def test_coefficients_follow_a_curriculum_in_time() -> None:
    f, u = get("v/cos/curriculum(lognorm(0,1),.5)"), torch.tensor([0.1, 0.9])
    assert torch.equal(f.times(u, 0.0), get("v/cos/lognorm(0,1)").times(u))
    assert torch.equal(f.times(u, 0.5), get("v/cos").times(u))
