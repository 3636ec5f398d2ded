"""Time grids by name, and the times of the shifted ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench import grid
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
        ("times", "did you mean 'times(1,...)'"),
        ("times(cosmap)", "unknown grid"),
        ("times(1,.8,.8,.3,.1)", "must fall, from noise to data: 0.8 follows 0.8"),
        ("times(1,.8,.5,.3,0)", "lie above 0, where the last step ends, and up to 1, and 0 does not"),
        ("times(1.1,.8,.5,.3,.1)", "and 1.1 does not"),
        ("logsnrs(-8,-2,-3,2,4)", "must rise, from noise to data: -3 follows -2"),
        ("times(1,.8,.5)", "5:5:euler:times(1,0.8,0.5): the table has 3 times, and 5 steps need as many"),
        ("logsnrs(-8,-4,-2,0,2,4)", "the table has 6 logsnrs, and 5 steps"),
    ],
)
def test_mistakes_name_what_there_is(grid: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(f"5:5:euler:{grid}")
    assert words in str(caught.value)


def test_a_grid_of_a_network_needs_one() -> None:
    with pytest.raises(UserError, match="depends on the number of image tokens"):
        times(get("rf"), parse("5:1:euler:fluxshift"))


def test_a_file_is_the_table_that_it_holds(tmp_path: Path) -> None:
    file, other = tmp_path / "mine.txt", tmp_path / "moved.txt"
    file.write_text("logsnrs\n-8.0\n-2.50\n\n3\n")
    other.write_text(file.read_text())
    made = parse(f"3:5:ddim:{file}")
    assert made.key == "3:5:ddim:logsnrs(-8,-2.5,3)"
    assert made == parse(f"3:5:ddim:{other}") == parse(made.key)
    assert ControlSetting(**vars(made), weights="ema").name == "ema-3-5-ddim-logsnrs-8,-2.5,3"
    other.write_text("logsnrs\n-8\n-2.5\n4\n")
    assert parse(f"3:5:ddim:{other}").key != made.key
    assert made.drop == parse(f"3:5:ddim:{file}:guide=0.1-0.7").drop


def test_a_long_table_has_a_short_name_in_files_that_is_its_own() -> None:
    keys = [
        f"50:5:euler:times({','.join(f'{(50 - k) / 50 - last * (k == 49):g}' for k in range(50))})"
        for last in (0, 0.001)
    ]
    names = {ControlSetting(**vars(parse(key)), weights="ema").name for key in keys}
    assert len(names) == 2
    assert all(len(name) == 100 and name.startswith("ema-50-5-euler-times1,0.98,") for name in names)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file or directory"),
        ("", "begins with ''"),
        ("1\n.8\n", "begins with '1': its first line must be times or logsnrs"),
        ("times\n1\nabc\n", "unknown grid"),
        ("times\n1\n2\n", "must fall"),
        ("times\n", "unknown grid"),
    ],
)
def test_mistakes_in_a_file_name_it(text: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError) as caught:
        parse(f"2:5:euler:{file}")
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/linear", "edm(-1.2,1.2)", "eps/ztlinear"])
def test_a_table_is_reached_on_every_path(name: str) -> None:
    f = get(name)
    native = times(f, parse("4:1"))
    listed = ",".join(f"{float(t):.7g}" for t in native)
    torch.testing.assert_close(times(f, parse(f"4:1:euler:times({listed})")), native, rtol=1e-6, atol=0)
    at = f.point(times(f, parse("3:1:euler:logsnrs(-4,0.5,5)"))).log_snr
    torch.testing.assert_close(at, torch.tensor([-4, 0.5, 5], dtype=torch.float64), rtol=0, atol=1e-6)


def test_karras_grid_as_a_table_is_karras_grid() -> None:
    f = get("v/cos")
    own = times(f, parse("6:1:euler:karras"))
    listed = ",".join(f"{float(z):.7g}" for z in f.point(own).log_snr)
    torch.testing.assert_close(times(f, parse(f"6:1:euler:logsnrs({listed})")), own, rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--settings", "2:1:euler:times(1,.5)"],
            "eps/cos cannot be sampled from t = 1, where its output cannot be decoded",
        ),
        (["--settings", "2:1:euler:logsnrs(-9,0)"], "eps/cos cannot be sampled from the log-SNR -9"),
        (
            ["--settings", "2:1:euler:logsnrs(-4,60)", "--formulations", "eps/linear"],
            "eps/linear has no time whose log-SNR",
        ),
        (["--settings", "2:1:euler:times(.9,.5)", "--start", "80"], "--start 80.0 would change nothing"),
    ],
)
def test_a_plan_refuses_what_a_path_does_not_reach(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words_of = ["--preset", "smoke", "--dry-run", "--formulations", "eps/cos", "--out", str(tmp_path / "run")]
    assert grid.main([*words_of, *options]) == 2
    found = capsys.readouterr().err
    assert words in found
    assert "sampler setting 2:1:euler:" in found
