"""Sampling: one update for every path, guidance on the output, one noise for all members; how far samples come."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.config.experiment import Grid
from bench.config.sampling_settings import Setting, parse
from bench.encoders.encoder import TextPart, text_encoder
from bench.encoders.text import PaddedCaptions, encode
from bench.models.flat import Flat
from bench.models.networks.mmdit import MMDiT
from bench.sampling.generate import Course, Sampled, course, generate, guided, solve, start_noise, step_noise
from bench.training.batches import CHUNK, chunk
from bench.training.coefficients import at
from bench.worker.setup import Setup
from formulations import Coeffs, get, names, split

CPU = torch.device("cpu")
PRIOR_MEAN, PRIOR_STD = 0.7, 0.4


def gaussian_optimum(path: Coeffs) -> Callable[..., Tensor]:
    """The network that is optimal for data N(0.7, 0.4^2), in any formulation: it counts its steps."""
    step = iter(range(10_000))

    def network(x_in: Tensor, clock: Tensor, tokens: Tensor, pooled: Tensor) -> Tensor:
        c = Coeffs(*(part[..., None, None, None].double() for part in at(path, next(step))))
        x_t = x_in.double() / c.c_in
        gain = c.a * PRIOR_STD**2 / (c.a**2 * PRIOR_STD**2 + c.b**2)
        clean = PRIOR_MEAN + gain * (x_t - c.a * PRIOR_MEAN)
        return (c.p * clean + c.q * (x_t - c.a * clean) / c.b).float()

    return network


def sample(name: str, steps: int, *how: Any, noise: Tensor | None = None) -> Sampled:
    """Twelve samples of the only member, by the optimum; ``how`` are solver and grid."""
    made = course([get(name)], Setting(steps, 1.0, *how), CPU)
    given = noise if noise is not None else torch.linspace(-2, 2, 12).view(12, 1, 1, 1)
    return follow(made, given, gaussian_optimum(made.here))


def follow(path: Course, noise: Tensor, network: Callable[..., Tensor]) -> Sampled:
    nothing = torch.zeros(len(noise), 1, 1)
    text = (nothing, nothing[:, 0])
    images, length = solve(partial(guided, network, text, text, Setting(1, 1.0), "float32"), path, noise)
    return Sampled(images[0], length[0])


DRAWN = [
    *(name for name in names("published") if not name.startswith("rf/") or name == "rf/lognorm(0.00,1.00)"),
    *("eps/cos", "x/rf@v", "eps/rf", "F(0.50)/trig(0.50)"),
]
"""Every path and target; timestep samplers do not change how rectified flow is sampled."""


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("solver", ["euler", "ddim"])
@pytest.mark.parametrize("grid", ["native", "clock"])
def test_many_steps_with_the_optimum_reach_the_data(name: str, grid: str, solver: str) -> None:
    """The exact flow maps noise n to 0.7 + 0.4 n; each sampler must converge to it.

    LDM-linear cannot quite: its path ends at a = 0.068, and sampling starts there from noise without that much data.
    """
    noise = torch.linspace(-2, 2, 12).view(12, 1, 1, 1)
    exact = PRIOR_MEAN + PRIOR_STD * noise
    coarse, fine = ((sample(name, steps, solver, grid).images - exact).abs().max() for steps in (20, 400))
    assert fine < (0.04 if name.endswith("/linear") else 0.02)
    assert fine < coarse


def test_the_step_is_euler_for_rectified_flow() -> None:
    noise = torch.randn(12, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    x, steps, length = noise.double(), 8, torch.zeros(12)
    for k in range(steps):
        t = 1 - k / steps
        variance = (1 - t) ** 2 * PRIOR_STD**2 + t**2
        clean = PRIOR_MEAN + (1 - t) * PRIOR_STD**2 / variance * (x - (1 - t) * PRIOR_MEAN)
        velocity = (x - clean) / t
        x, length = x - velocity / steps, length + velocity.abs().flatten() / steps
    found = sample("rf", steps, noise=noise)
    torch.testing.assert_close(found.images.double(), x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.path_length.double(), length, rtol=1e-5, atol=1e-5)


def test_the_step_is_karras_euler_for_edm() -> None:
    noise = torch.randn(12, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    steps = 8
    ramp = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    sigmas = (80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    x = noise.double() * math.sqrt(80**2 + 1)
    for sigma, after in zip(sigmas.tolist(), [*sigmas[1:].tolist(), 0.0], strict=True):
        denoised = PRIOR_MEAN + PRIOR_STD**2 / (PRIOR_STD**2 + sigma**2) * (x - PRIOR_MEAN)
        x = x + (after - sigma) * (x - denoised) / sigma
    found = sample("edm(-1.2,1.2)", steps, noise=noise).images
    torch.testing.assert_close(found.double(), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("how", ["5:1:ddim", "1:1:ddim:clock", "7:1:ddim:clock"])
def test_a_straight_path_is_as_long_as_its_ends_are_apart(name: str, how: str) -> None:
    """A network that always answers with one image and one noise: |n - x|, times the clock at which sampling starts."""
    setting = parse(how)
    made = course([get(name)], setting, CPU)
    path = made.here
    image, noise = torch.randn(2, 6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    step, first = iter(range(setting.steps)), at(path, 0)

    def network(*_: Tensor) -> Tensor:
        here = at(path, next(step))
        return here.p * image[None] + here.q * noise[None]

    start = (first.a * image + first.b * noise) / torch.hypot(first.a, first.b)  # which is noise where a = 0
    found = follow(made, start, network)
    apart = (noise - image).flatten(1).norm(dim=1)
    torch.testing.assert_close(found.images, image, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        found.path_length, apart * (first.b / (first.a + first.b))[0], rtol=1e-3, atol=0
    )
    assert found.path_length.dtype == torch.float32
    if name.startswith(("rf", "v/cos")):
        torch.testing.assert_close(found.path_length, apart, rtol=1e-3, atol=0)


def test_paths_are_as_long_in_the_coordinates_of_another_formulation() -> None:
    """With the same optimum, over the same noise levels: lengths do not depend on the path's own scale."""
    known = sample("rf", 9, "ddim", "clock").path_length
    assert known.std() > 0.1
    for name in ("v/cos", "x/rf@v", "F(0.50)/cos"):
        torch.testing.assert_close(sample(name, 9, "ddim", "clock").path_length, known, rtol=1e-3, atol=1e-4)


def test_lengths_do_not_depend_on_the_solver() -> None:
    """Evaluations at one time count once, those between two times make finer rectangles."""
    known = sample("v/cos", 400, "ddim").path_length
    for solver in ("euler", "heun", "ab2"):
        torch.testing.assert_close(sample("v/cos", 100, solver).path_length, known, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("solver", ["heun", "ab2"])
def test_few_steps_of_the_second_order_are_nearer_to_the_data(solver: str) -> None:
    noise = torch.linspace(-2, 2, 12).view(12, 1, 1, 1)
    exact = PRIOR_MEAN + PRIOR_STD * noise
    first, second = ((sample("v/cos", 20, how).images - exact).abs().max() for how in ("euler", solver))
    assert second < first / 3


@pytest.mark.parametrize("solver", ["euler", "ddim"])
def test_a_step_of_one_evaluation_is_bit_for_bit_two_products_and_a_sum(solver: str) -> None:
    """In float32, with A and B rounded once: images of archives are drawn again as they were."""
    f, steps, noise = get("v/cos"), 6, torch.randn(12, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    made = course([f], Setting(steps, 1.0, solver), CPU)
    now, after = f.point(f.grid(steps)), f.point(f.grid(steps)[1:])
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    step = torch.cat([now.t, zero]).diff()
    known = {
        "euler": (now.a + step * now.da, now.b + step * now.db),
        "ddim": (torch.cat([after.a, one]), torch.cat([after.b, zero])),
    }
    image, remaining = (part.float() for part in known[solver])
    network, x_t = (
        gaussian_optimum(made.here),
        torch.hypot(made.here.a[:, 0], made.here.b[:, 0]) * noise[None],
    )
    for k in range(steps):
        here = Coeffs(*(part.expand(-1, 12) for part in at(made.here, k)))
        output = network(here.c_in[..., None, None, None] * x_t, here.c_noise, x_t, x_t)
        clean, direction = split(output, x_t, here)
        x_t = image[k] * clean + remaining[k] * direction
    assert torch.equal(sample("v/cos", steps, solver, noise=noise).images, x_t[0])


def tiny(setup: Setup, grid: Grid, members: int) -> tuple[MMDiT, Flat]:
    model = MMDiT(setup.shape(grid.model), members)
    flat = Flat(model)
    flat.weights.copy_(0.05 * torch.randn(flat.weights.shape, generator=torch.Generator().manual_seed(3)))
    return model, flat


def test_guidance_acts_on_the_output(setup: Setup, grid: Grid) -> None:
    model, _ = tiny(setup, grid, 1)
    c = at(course([get("rf")], Setting(4, 1.0), CPU).here, 1)
    c = Coeffs(*(part.expand(-1, 3) for part in c))
    x, text = torch.randn(1, 3, 3, 16, 16), setup.captions[torch.arange(3)]
    nothing = torch.zeros_like(text[0]), torch.zeros_like(text[1])
    with torch.no_grad():
        one, zero, three = (
            guided(model, text, nothing, Setting(1, cfg), "float32", x, c).image for cfg in (1.0, 0.0, 3.0)
        )
        torch.testing.assert_close(
            zero, guided(model, nothing, nothing, Setting(1, 1.0), "float32", x, c).image
        )
        torch.testing.assert_close(three, zero + 3 * (one - zero), rtol=1e-4, atol=1e-5)
        assert (one - zero).abs().max() > 1e-3
        inside, outside = (
            guided(model, text, nothing, parse(f"1:3:guide={limits}"), "float32", x, c).image
            for limits in ("0.7-0.8", "0.8-1")
        )
        assert float(c.b[0, 0]) == 0.75
        torch.testing.assert_close(inside, three)
        torch.testing.assert_close(outside, one, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/linear", "edm(-1.2,1.2)"])
def test_noise_is_that_without_captions_by_cfg_plus_plus(name: str, setup: Setup, grid: Grid) -> None:
    """DDIM by hand: A x^ + B n^ with x^ of the guided output and n^ of that without captions."""
    model, flat = tiny(setup, grid, 1)
    rows, f = setup.captions.rows(setup.chosen), get(name)
    setting = parse("3:0.6:ddim:rule=cfg++")
    here, text = course([f], setting, CPU).here, setup.captions[rows]
    nothing = setup.captions.unconditional(len(rows))
    noise = start_noise("shapes", len(rows), (3, 16, 16))
    x = torch.hypot(here.a, here.b)[0, 0] * noise[None]
    after = [*((here.a[:, k], here.b[:, k]) for k in (1, 2)), (torch.ones(1), torch.zeros(1))]
    with torch.no_grad():
        for k, (a, b) in enumerate(after):
            c = Coeffs(*(part.expand(-1, len(rows)) for part in at(here, k)))
            one, zero = (
                guided(model, text, nothing, Setting(1, cfg), "float32", x, c).image for cfg in (1.0, 0.0)
            )
            x = a * split(zero + 0.6 * (one - zero), x, c)[0] + b * split(zero, x, c)[1]
    keys = ("3:0.6:ddim:rule=cfg++", "3:0.6:ddim", "3:1:ddim:rule=cfg++", "3:1:ddim")
    ours, *others = (run(setup, grid, [name], flat.weights, parse(key)).images for key in keys)
    error, *differences = (float((drawn - x).abs().max()) for drawn in (ours, *others))
    assert error < 0.05 * min(differences)
    assert float((others[1] - others[2]).abs().max()) > 10 * error


def run(
    setup: Setup,
    grid: Grid,
    names: list[str],
    weights: Tensor,
    setting: Setting,
    precision: str = "float32",
) -> Sampled:
    model, flat = tiny(setup, grid, len(names))
    rows = setup.captions.rows(setup.chosen)
    noise = start_noise("shapes", len(rows), (3, 16, 16))
    members = [get(n) for n in names]
    parts = generate(model, flat, weights, members, setup.captions, rows, noise, setting, precision)
    return Sampled(*(torch.cat(each, dim=1) for each in zip(*parts, strict=True)))


def test_members_do_not_depend_on_their_pack(setup: Setup, grid: Grid) -> None:
    listed = ["rf", "eps/linear", "edm(-1.2,1.2)"]
    weights = tiny(setup, grid, 3)[1].weights
    together = run(setup, grid, listed, weights, Setting(4, 2.5))
    assert together.images.shape == (3, 12, 3, 16, 16)
    assert together.path_length.shape == (3, 12)
    for e, name in enumerate(listed):
        alone = run(setup, grid, [name], weights[e : e + 1], Setting(4, 2.5))
        for one, pack in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], pack[e], rtol=1e-4, atol=1e-4)


def test_the_unconditional_input_is_what_a_dropped_caption_is_in_training(setup: Setup, grid: Grid) -> None:
    """By hand for one step of rectified flow; and without captions it is the empty one, for which F = F0."""
    weights, settings = tiny(setup, grid, 1)[1].weights, [Setting(2, cfg) for cfg in (0.0, 1.0, 3.0)]
    captions = encode(text_encoder(grid.text), [*setup.captions.index, ""], CPU)
    zeros, empty = replace(setup, captions=captions), replace(setup, captions=captions.dropped_to("empty"))
    none, one, three = (run(empty, grid, ["rf"], weights, s).images for s in settings)
    again = [run(zeros, grid, ["rf"], weights, s).images for s in settings]
    for drawn, known in zip(
        again, (run(setup, grid, ["rf"], weights, s).images for s in settings), strict=True
    ):
        assert torch.equal(drawn, known), "zeros are as before, whatever else is encoded"
    assert torch.equal(one, again[1])
    assert not torch.allclose(none, again[0], atol=1e-6)
    assert not torch.allclose(three, again[2], atol=1e-6)
    alone = replace(zeros, chosen=("",) * len(setup.chosen))
    torch.testing.assert_close(
        none, run(alone, grid, ["rf"], weights, Setting(2, 1.0)).images, rtol=1e-4, atol=1e-5
    )


def test_dropped_networks_give_nothing(setup: Setup, grid: Grid) -> None:
    """Their tokens and parts of the pooled vector are zero where captions are read, and nothing else is."""
    weights, text = tiny(setup, grid, 1)[1].weights, setup.captions
    assert isinstance(text, PaddedCaptions)
    length, width, pooled = text.sizes
    parts = TextPart("a", (0, length), (0, 40), (0, 9)), TextPart("b", (0, length), (40, width), (9, pooled))
    joined = replace(setup, captions=replace(text, parts=parts))
    zeros = text.tokens.clone(), text.pooled.clone()
    zeros[0][:, :, 40:], zeros[1][:, 9:] = 0, 0
    without = replace(setup, captions=replace(text, tokens=zeros[0], pooled=zeros[1]))
    dropped = run(joined, grid, ["rf"], weights, Setting(2, 2.5, drop="b"))
    assert torch.equal(dropped.images, run(without, grid, ["rf"], weights, Setting(2, 2.5)).images)
    assert not torch.equal(dropped.images, run(joined, grid, ["rf"], weights, Setting(2, 2.5)).images)
    neither = run(joined, grid, ["rf"], weights, Setting(2, 1.0, drop="a+b"))
    torch.testing.assert_close(neither.images, run(setup, grid, ["rf"], weights, Setting(2, 0.0)).images)


@pytest.mark.parametrize("solver", ["euler", "ancestral"])
def test_the_chunk_does_not_matter(
    solver: str, setup: Setup, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tiny(setup, grid, 1)[1].weights
    whole = run(setup, grid, ["rf"], weights, Setting(3, 5.0, solver))
    sizes: list[int] = []
    monkeypatch.setattr("bench.sampling.generate.solve", spy(sizes))
    for most, expected in ((10, [5, 5, 2]), (1, [1] * 12), (1000, [12])):
        monkeypatch.setitem(CHUNK, "cpu", most)
        again = run(setup, grid, ["rf"], weights, Setting(3, 5.0, solver))
        torch.testing.assert_close(again, whole, rtol=1e-4, atol=1e-4)
        assert sizes == expected
        sizes.clear()


def spy(sizes: list[int]) -> Callable[..., Sampled]:
    """The sampler, noting how many samples it is given at once."""

    def solved(network: Callable[..., Tensor], path: Course, noise: Tensor) -> Sampled:
        sizes.append(len(noise))
        return solve(network, path, noise)

    return solved


def test_a_chunk_is_shared_by_the_members() -> None:
    cpu, gpu = CHUNK["cpu"], CHUNK["cuda"]
    assert [chunk(CPU, members) for members in (1, 3, cpu, 2 * cpu)] == [cpu, cpu // 3, 1, 1]
    assert chunk(torch.device("cuda"), 4) == gpu // 4
    assert chunk(torch.device("mps"), 1) == cpu, "unknown devices are treated as a processor"


def test_bf16_images_stay_near_float32(setup: Setup, grid: Grid) -> None:
    weights = tiny(setup, grid, 2)[1].weights
    usual, half = (
        run(setup, grid, ["rf", "edm(-1.2,1.2)"], weights, Setting(4, 2.5), precision=precision).images
        for precision in ("float32", "bf16")
    )
    assert half.dtype == torch.float32
    assert not torch.equal(half, usual)
    assert (half - usual).abs().mean() < 0.01 * usual.abs().mean()


def test_the_grid_option_matters_where_grids_differ(setup: Setup, grid: Grid) -> None:
    weights = tiny(setup, grid, 1)[1].weights
    grids = ("native", "clock")
    for name, same in (("rf", True), ("v/cos", False), ("edm(-1.2,1.2)", False)):
        native, clock = (run(setup, grid, [name], weights, Setting(5, 1.0, grid=how)).images for how in grids)
        assert torch.allclose(native, clock, atol=1e-4) is same, name


def test_fresh_noise_is_that_of_the_sample_and_the_step() -> None:
    start = start_noise("shapes", 5, (3, 4, 4))
    drawn = step_noise(start, 3)
    assert drawn.shape == (3, 5, 3, 4, 4)
    assert torch.equal(step_noise(start[2:4], 6)[:3], drawn[:, 2:4])
    assert len(drawn.flatten(2).flatten(0, 1).unique(dim=0)) == 15
    assert abs(float((drawn * start).mean())) < 0.1


def test_start_noise_is_a_prefix_and_named(setup: Setup) -> None:
    assert torch.equal(start_noise("shapes", 8, (3, 16, 16))[:4], start_noise("shapes", 4, (3, 16, 16)))
    assert not torch.equal(start_noise("shapes", 4, (3, 16, 16)), start_noise("digits", 4, (3, 16, 16)))


def test_evaluation_leaves_the_weights_of_the_model_alone(setup: Setup, grid: Grid) -> None:
    model, flat = tiny(setup, grid, 1)
    before = flat.weights.clone()
    rows, other = setup.captions.rows(setup.chosen), torch.zeros_like(before)
    noise = start_noise("shapes", len(rows), (3, 16, 16))
    list(generate(model, flat, other, [get("rf")], setup.captions, rows, noise, Setting(2, 1.0)))
    assert torch.equal(flat.weights, before)
