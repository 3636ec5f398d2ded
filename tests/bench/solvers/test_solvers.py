"""Solvers against exact flows: their order, their references, and where they are one method."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations, pairwise
from typing import Any

import diffusers
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from bench import solvers
from bench.config.sampling_settings import Setting, parse
from bench.sampling.times import begun, times
from formulations import Formulation, Point, get

CENTRES = torch.tensor([-1.2, 0.3, 1.5], dtype=torch.float64)
WIDTH = 0.3
NOISE = torch.linspace(-2, 2, 9, dtype=torch.float64)


def denoise(a: Tensor, b: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor]:
    """E[x | x_t] and E[n | x_t] for data of three normal laws: the network that nothing could improve."""
    variance = a**2 * WIDTH**2 + b**2
    apart = x_t[..., None] - a[..., None] * CENTRES
    weight = torch.softmax(-(apart**2) / (2 * variance[..., None]), -1)
    clean = (weight * (CENTRES + (a * WIDTH**2 / variance)[..., None] * apart)).sum(-1)
    return clean, (x_t - a * clean) / b


def follow(f: Formulation, setting: Setting, start: Tensor) -> Tensor:
    """The flow of the exact denoiser from ``start``, by a solver."""
    return along(f, setting.solver, times(f, setting), start)


def along(
    f: Formulation,
    solver: str,
    times: Tensor,
    start: Tensor,
    fresh: Tensor | None = None,
    seen: list[Tensor] | None = None,
) -> Tensor:
    """The same on given times, with ``fresh [N, *start]`` for a solver that adds noise; ``seen`` takes the state of each
    evaluation."""
    steps = solvers.get(solver)(f, times)
    at = f.point(steps.times)

    def decoded(i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        if seen is not None:
            seen.append(x)
        return denoise(at.a[i].expand_as(x), at.b[i].expand_as(x), x)

    return solvers.follow(steps, start, decoded, lambda i: start if fresh is None else fresh[i])


@cache
def exact(name: str) -> tuple[Tensor, Tensor]:
    """Where sampling starts, and where the same flow ends by SciPy's RK45 in native time."""
    f = get(name)
    at = f.point(torch.tensor([f.start], dtype=torch.float64))
    start = torch.hypot(at.a, at.b) * NOISE

    def velocity(t: float, x: Any) -> Any:
        at = f.point(torch.full((len(x),), t, dtype=torch.float64))
        clean, direction = denoise(at.a, at.b, torch.from_numpy(x))
        return (at.da * clean + at.db * direction).numpy()

    found = solve_ivp(velocity, (f.start, 1e-6), start.numpy(), rtol=1e-6, atol=1e-6)
    return start, torch.from_numpy(found.y[:, -1])


@pytest.mark.parametrize("solver", ["euler", "ddim"])
@pytest.mark.parametrize("grid", ["native", "clock"])
@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/linear", "eps/ztlinear", "edm(-1.2,1.2)", "u/vp"])
def test_the_error_falls_like_the_first_power_of_the_step(name: str, grid: str, solver: str) -> None:
    start, known = exact(name)
    errors = [
        (follow(get(name), parse(f"{n}:1:{solver}:{grid}"), start) - known).abs().mean().item()
        for n in (50, 200)
    ]
    # LDM's tables end at b = 0.029, where DDIM's last step leaves out what is left of the noise
    floor = 0.01 if name.endswith("linear") and solver == "ddim" else 0.0
    assert errors[1] < errors[0] / 2.7 + floor


@pytest.mark.parametrize("name", ["rf", "rf/lognorm(0,1)", "edm(-1.2,1.2)", "eps/ve"])
@pytest.mark.parametrize("grid", ["native", "clock"])
def test_euler_is_ddim_where_the_path_is_straight_in_its_time(name: str, grid: str) -> None:
    for steps in (1, 5, 50):
        t = times(get(name), parse(f"{steps}:1:euler:{grid}"))
        one, other = (solvers.get(solver)(get(name), t) for solver in ("euler", "ddim"))
        for part in ("times", "image", "noise"):
            torch.testing.assert_close(getattr(one, part), getattr(other, part), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", ["heun", "ab2"])
@pytest.mark.parametrize("name", ["rf", "v/cos", "u/vp", "edm(-1.2,1.2)"])
def test_the_error_falls_like_the_square_of_the_step(name: str, solver: str) -> None:
    """Of a flow that is not linear, at 4 times as many steps by 16."""
    start, known = exact(name)
    counts = (100, 400) if name.startswith("edm") else (50, 200)
    errors = [
        (follow(get(name), parse(f"{n}:1:{solver}"), start) - known).abs().mean().item() for n in counts
    ]
    assert errors[1] < errors[0] / 10
    first = follow(get(name), parse(f"{counts[1]}:1:euler"), start)
    assert errors[1] < (first - known).abs().mean().item() / 5


def clocks(f: Formulation, steps: int, first: float = 0.99, last: float = 0.01) -> Tensor:
    """Native times, equally spaced in the clock."""
    return f.at_clock(torch.linspace(first, last, steps, dtype=torch.float64))


@pytest.mark.parametrize("solver", ["euler", "ddim", "heun", "ab2", "dpm++2m", "unipc2"])
@pytest.mark.parametrize("name", ["rf", "v/cos", "edm(-1.2,1.2)"])
def test_orders_of_convergence_between_fixed_times(name: str, solver: str) -> None:
    """Of a flow that is not linear, up to the last step: at twice as many steps the error falls by 2^order."""
    f, order = get(name), solvers.get(solver).order
    at = f.point(clocks(f, 2)[:1])
    start = torch.hypot(at.a, at.b) * NOISE

    def last(solver: str, steps: int) -> Tensor:
        """The state of the last evaluation."""
        states: list[Tensor] = []
        along(f, solver, clocks(f, steps + 1), start, seen=states)
        return states[-1]

    exact = last("heun", 4000)
    coarse, fine = ((last(solver, n) - exact).abs().mean().item() for n in (160, 320))
    assert order - 0.2 < math.log2(coarse / fine) < order + (1.2 if solver == "unipc2" else 0.4)


def diffusers_scheduler(solver: str, name: str, steps: int, at: Point) -> Any:
    """Diffusers' own, set to the noise levels of our evaluations."""
    flow, edm = name == "rf", name.startswith("edm")
    kind = "flow_prediction" if flow else "v_prediction"
    made: Any
    if edm and solver == "dpm++2m":
        made = diffusers.EDMDPMSolverMultistepScheduler()
    elif edm:
        made = diffusers.EDMEulerScheduler()
        made.is_scale_input_called = True
    elif solver == "euler":
        made = diffusers.FlowMatchEulerDiscreteScheduler()
    elif solver == "heun":
        made = diffusers.FlowMatchHeunDiscreteScheduler()
    elif solver == "ddim":
        made = diffusers.DDIMScheduler(num_train_timesteps=steps, prediction_type=kind, clip_sample=False)
    elif solver == "unipc2":
        made = diffusers.UniPCMultistepScheduler(
            solver_order=2, solver_type="bh2", prediction_type=kind, use_flow_sigmas=flow
        )
    else:
        made = diffusers.DPMSolverMultistepScheduler(
            solver_order=1 if solver == "ancestral" else 2,
            algorithm_type="sde-dpmsolver++" if solver in ("ancestral", "dpm++2m_sde") else "dpmsolver++",
            solver_type="midpoint",
            final_sigmas_type="zero",
            euler_at_final=True,
            prediction_type=kind,
            use_flow_sigmas=flow,
        )
    made.set_timesteps(steps)
    if solver == "ddim":
        made.timesteps, made.alphas_cumprod = torch.arange(steps).flip(0), at.a.flip(0) ** 2
    else:
        made.timesteps = torch.arange(len(at.b)).double()
        made.sigmas = torch.cat([at.b if flow or edm else at.ratio, torch.zeros(1).double()])
    return made


MULTISTEP = ("dpm++2m", "unipc2", "ancestral", "dpm++2m_sde")
IN_DIFFUSERS = [
    *(("rf", first, solver) for first in (1.0, 0.97) for solver in ("euler", "heun", *MULTISTEP)),
    *(("v/cos", 0.97, solver) for solver in ("ddim", *MULTISTEP)),
    *(("edm(-1.2,1.2)", 0.97, solver) for solver in ("euler", "dpm++2m")),
]


@pytest.mark.parametrize(("name", "first", "solver"), IN_DIFFUSERS)
def test_solvers_are_those_of_diffusers(name: str, first: float, solver: str) -> None:
    """On the same times, from pure noise too (but for UniPC, whose equations diffusers then solves with infinities)."""
    f, steps = get(name), 8
    if solver == "unipc2" and first == 1:
        steps = 3
    grid = clocks(f, steps, first, 0.05)
    at = f.point(solvers.get(solver)(f, grid).times)
    fresh = torch.randn(steps, 1, len(NOISE), 1, generator=torch.Generator().manual_seed(1))
    theirs = diffusers_scheduler(solver, name, steps, at)
    start = torch.hypot(at.a[0], at.b[0]) * NOISE if name.startswith("edm") else NOISE
    x = start.float()[None, :, None]
    for i, (a, b) in enumerate(zip(at.a, at.b, strict=True)):
        clean, noise = denoise(a.expand_as(x.double()), b.expand_as(x), x.double())
        if name == "rf":
            output = noise - clean
        elif name == "v/cos":
            output = a * noise - b * clean
        else:  # its preconditioned network, with sigma_data 0.5
            output = (clean - x / (4 * b**2 + 1)) * (4 * b**2 + 1).sqrt() / b
        own = {}
        if isinstance(theirs, diffusers.DPMSolverMultistepScheduler):
            own["variance_noise"] = fresh[i]
        x = theirs.step(output.float(), theirs.timesteps[i], x, **own).prev_sample
    ours = along(f, solver, grid, start, fresh[:, 0, :, 0].double())
    torch.testing.assert_close(ours.float(), x[0, :, 0], rtol=0, atol=3e-6)


@pytest.mark.parametrize("solver", ["ancestral", "dpm++2m_sde"])
def test_solvers_with_noise_draw_the_data(solver: str) -> None:
    """Three normal laws with widths, from pure noise, in distribution: their mean, deviation and weights."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(20_000, generator=generator, dtype=torch.float64)
    fresh = torch.randn(60, len(start), generator=generator, dtype=torch.float64)
    drawn = along(get("rf"), solver, get("rf").grid(60), start, fresh)
    known = (CENTRES.square().mean() - CENTRES.mean() ** 2 + WIDTH**2).sqrt()
    assert float(drawn.mean()) == pytest.approx(float(CENTRES.mean()), abs=0.03)
    assert float(drawn.std()) == pytest.approx(float(known), rel=0.03)
    assert float(((drawn + 1.2).abs() < 0.75).double().mean()) == pytest.approx(1 / 3, abs=0.02)
    other = along(get("rf"), solver, get("rf").grid(60), start, -fresh)
    assert float((drawn - other).abs().mean()) > 0.1  # the noise decides, not the start alone


def test_heun_is_algorithm_1_of_edm() -> None:
    """arXiv 2206.00364 with gamma = 0, in its own variables: sigma is the time, D the denoiser."""
    f, steps, one = get("edm(-1.2,1.2)"), 6, torch.ones((), dtype=torch.float64)
    x = start = 80 * NOISE
    sigmas = [*f.point(f.grid(steps)).b, 0 * one]

    def slope(sigma: Tensor, x: Tensor) -> Tensor:
        return (x - denoise(one.expand_as(x), sigma.expand_as(x), x)[0]) / sigma

    for here, after in pairwise(sigmas):
        d = slope(here, x)
        euler = x + (after - here) * d
        x = euler if after == 0 else x + (after - here) * (d + slope(after, euler)) / 2
    torch.testing.assert_close(follow(f, parse(f"{steps}:1:heun"), start), x, rtol=1e-8, atol=1e-8)


def test_ab2_is_adams_bashforth_on_an_even_grid() -> None:
    """x + h (3 v_k - v_{k-1}) / 2 for rectified flow, v = n^ - x^; the first step is Euler's."""
    steps, x, before = 5, NOISE, None
    for k in range(steps):
        t = torch.tensor(1 - k / steps, dtype=torch.float64)
        clean, noise = denoise((1 - t).expand_as(x), t.expand_as(x), x)
        v = noise - clean
        x = x - (v if before is None else (3 * v - before) / 2) / steps
        before = v
    torch.testing.assert_close(follow(get("rf"), parse(f"{steps}:1:ab2"), NOISE), x)


def test_ddim_is_ddim() -> None:
    """Equation 12 of arXiv 2010.02502 with sigma = 0, in its own variables."""
    f, setting = get("eps/cos"), Setting(7, 1.0, "ddim")
    t = times(f, setting)
    bar = f.point(t).a ** 2
    x = NOISE
    for k in range(7):
        root = bar[k].sqrt()
        eps = denoise(root.expand_as(x), (1 - bar[k]).sqrt().expand_as(x), x)[1]
        predicted = (x - (1 - bar[k]).sqrt() * eps) / root
        after = bar[k + 1] if k < 6 else torch.ones((), dtype=torch.float64)
        x = after.sqrt() * predicted + (1 - after).sqrt() * eps
    torch.testing.assert_close(follow(f, setting, NOISE), x)


def test_euler_is_euler_for_the_cosine_path() -> None:
    """dy = v dt with v = a' x^ + b' n^ written out: a' = -pi/2 sin, b' = pi/2 cos."""
    f, x, steps = get("v/cos"), NOISE, 6
    for k in range(steps):
        angle = math.pi / 2 * (1 - k / steps)
        a, b = torch.tensor(math.cos(angle)).double(), torch.tensor(math.sin(angle)).double()
        clean, noise = denoise(a.expand_as(x), b.expand_as(x), x)
        x = x - math.pi / 2 * (b * -clean + a * noise) / steps
    torch.testing.assert_close(follow(f, Setting(steps, 1.0), NOISE), x, rtol=1e-6, atol=1e-6)


def test_solvers_differ_where_paths_are_curved() -> None:
    ends = [
        follow(get("v/cos"), parse(f"5:1:{solver}"), NOISE)
        for solver in ("euler", "ddim", "heun", "ab2", "dpm++2m", "unipc2")
    ]
    assert all((one - other).abs().max() > 0.01 for one, other in combinations(ends, 2))


@pytest.mark.parametrize(
    ("solver", "simpler"),
    [
        ("heun", "euler"),
        ("ab2", "euler"),
        ("dpm++2m", "ddim"),
        ("unipc2", "ddim"),
        ("dpm++2m_sde", "ancestral"),
    ],
)
def test_a_solver_needs_the_steps_without_which_it_is_a_simpler_one(solver: str, simpler: str) -> None:
    """On rf, which begins at pure noise: with one step fewer its table is that of the simpler one, with ``least`` it is not
    on any path."""
    least = solvers.get(solver).least

    def differs(name: str, steps: int) -> bool:
        f = get(name)
        one, other = (solvers.get(each)(f, f.grid(steps)) for each in (solver, simpler))
        if one.image.shape[0] > other.image.shape[0]:
            return True
        pairs = ((one.image, other.image), (one.noise, other.noise))
        return any(bool((a[:, 1:].abs() > 1e-9).any() or (a[:, :1] - b).abs().max() > 1e-9) for a, b in pairs)

    assert not differs("rf", least - 1)
    assert all(differs(name, least) for name in ("rf", "v/cos", "edm(-1.2,1.2)", "eps/linear"))


@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/cos", "edm(-1.2,1.2)", "eps/linear"])
@pytest.mark.parametrize("grid", ["native", "clock"])
def test_all_paths_start_where_they_are_asked_to(name: str, grid: str) -> None:
    """LDM's path ends at b / a = 14.6: it cannot start above."""
    for start in (10.0, 80.0):
        f = begun(get(name), start)
        first = f.point(times(f, parse(f"5:1:ddim:{grid}"))[:1])
        expected = min(start, 14.6146) if name == "eps/linear" else start
        assert float(first.ratio) == pytest.approx(expected, rel=1e-5)
    assert begun(get(name), "native").start == get(name).start
