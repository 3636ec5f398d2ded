"""Time grids by name, and the times of the shifted ones."""

from __future__ import annotations

import pytest
import torch

from bench.config.sampling_settings import ControlSetting, parse
from bench.sampling.times import times
from flowbench._core.errors import UserError
from formulations import get


def scheduled(steps: int, **options: object) -> torch.Tensor:
    """The times of diffusers' scheduler for SD3 and FLUX, whose pipelines hand it equally spaced ones."""
    diffusers = pytest.importorskip("diffusers", reason="the latents extra is not installed")
    mu = options.pop("mu", None)
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(**options)
    theirs.set_timesteps(sigmas=[1 - k / steps for k in range(steps)], mu=mu)
    return theirs.sigmas[:-1].double()


@pytest.mark.parametrize("steps", [1, 4, 28])
def test_shifted_times_are_those_of_the_public_schedulers(steps: int) -> None:
    sd3, flux = (
        parse(f"{steps}:1:euler:shift(3)"),
        parse(f"{steps}:1:euler:shift({torch.tensor(1.15).exp():.7g})"),
    )
    torch.testing.assert_close(times(get("rf"), sd3), scheduled(steps, shift=3.0), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        times(get("rf"), flux), scheduled(steps, use_dynamic_shifting=True, mu=1.15), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("name", ["v/cos", "edm(-1.2,1.2)", "eps/linear"])
def test_a_shift_moves_the_share_of_the_clock_and_not_its_start(name: str) -> None:
    f = get(name)
    even, moved = (f.clock(times(f, parse(f"9:1:euler:{grid}"))) for grid in ("clock", "shift(2)"))
    assert moved[0] == even[0]
    r = even / even[0]
    torch.testing.assert_close(moved / moved[0], 2 * r / (1 + r), rtol=1e-9, atol=1e-12)


def test_a_shift_by_one_is_the_clock_grid() -> None:
    assert torch.equal(*(times(get("v/cos"), parse(f"7:1:euler:{grid}")) for grid in ("clock", "shift(1)")))


@pytest.mark.parametrize(
    ("text", "key", "file"),
    [
        ("5:5:euler:shift(3.0)", "5:5:euler:shift(3)", "ema-5-5-euler-shift3"),
        ("5:5:ddim: shift(1.8780)", "5:5:ddim:shift(1.878)", "ema-5-5-ddim-shift1.878"),
        ("5:5:euler:fluxshift", "5:5:euler:fluxshift", "ema-5-5-euler-fluxshift"),
        ("5:5:euler:sd3shift(256)", "5:5:euler:sd3shift(256)", "ema-5-5-euler-sd3shift256"),
    ],
)
def test_a_grid_has_one_spelling(text: str, key: str, file: str) -> None:
    made = parse(text)
    assert made.key == key
    assert parse(key) == made
    assert ControlSetting(**vars(made), weights="ema").name == file


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ("shift", "did you mean 'fluxshift' or 'shift(alpha)'"),
        ("shift(0)", "unknown grid 'shift(0)'"),
        ("shift(3,4)", "unknown grid"),
        ("shift(cosmap)", "unknown grid"),
        ("clock(1)", "did you mean 'clock'?"),
        ("sd3shift", "did you mean 'sd3shift(base)'"),
        ("3", "unknown grid '3'; known: 'native', 'clock'"),
    ],
)
def test_mistakes_name_what_there_is(grid: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(f"5:5:euler:{grid}")
    assert words in str(caught.value)


def test_a_grid_of_a_network_needs_one() -> None:
    with pytest.raises(UserError, match="depends on the number of image tokens"):
        times(get("rf"), parse("5:1:euler:fluxshift"))
