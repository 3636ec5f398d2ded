"""The perfect network: a softmax over the training images."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from bench import ideal
from bench.config.experiment import Images
from bench.config.sampling_settings import Setting, parse
from bench.data import get as dataset
from bench.sampling.times import begun
from flowbench._core.errors import UserError
from formulations import get

IMAGES = torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_the_posterior_is_bayes_rule() -> None:
    """Written out with densities, image by image."""
    a, b = torch.tensor(0.6).double(), torch.tensor(0.5).double()
    x_t = a * IMAGES[2] + b * NOISE[0]
    density = torch.distributions.Normal(a * IMAGES, b).log_prob(x_t).sum(1).exp()
    expected = (density[:, None] * IMAGES).sum(0) / density.sum()
    torch.testing.assert_close(ideal.posterior(IMAGES, x_t[None], a, b)[0], expected)


@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/linear", "edm(-1.2,1.2)"])
@pytest.mark.parametrize("clock", [0.1, 0.5, 0.9])
def test_the_posterior_is_the_sum_written_out(name: str, clock: float) -> None:
    """Two loops over images and pixels, for every path at noise levels that it reaches."""
    f = get(name)
    at = f.point(f.at_clock(torch.tensor(clock, dtype=torch.float64)))
    a, b = float(at.a), float(at.b)
    x_t = a * IMAGES[3] + b * NOISE[1]
    weights = [
        math.exp(
            sum(-((float(z) - a * float(x)) ** 2) / (2 * b * b) for z, x in zip(x_t, image, strict=True))
        )
        for image in IMAGES
    ]
    expected = [
        sum(w * float(image[d]) for w, image in zip(weights, IMAGES, strict=True)) / sum(weights)
        for d in range(IMAGES.shape[1])
    ]
    found = ideal.posterior(IMAGES, x_t[None], at.a, at.b)[0]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=1e-10)


def test_two_images_have_a_closed_form() -> None:
    """x^ = c tanh(a c x_t / b^2) for data at c and -c."""
    a, b = torch.tensor([0.3, 1.4], dtype=torch.float64)
    images, x_t = torch.tensor([[0.8], [-0.8]]).double(), torch.linspace(-3, 3, 13).double()[:, None]
    torch.testing.assert_close(ideal.posterior(images, x_t, a, b), 0.8 * torch.tanh(a * 0.8 * x_t / b**2))


@pytest.mark.parametrize("name", ["v/cos", "edm(-1.2,1.2)", "eps/ztlinear", "eps/ve"])
@pytest.mark.parametrize("start", [80.0, 5.0])
def test_all_paths_are_one_where_ddim_takes_one_grid(name: str, start: float) -> None:
    """The posterior depends on x_t / (a + b) and the clock only, so a path's own scale has no part in it."""
    same = parse("6:1:ddim:clock")
    known = ideal.sample(IMAGES, begun(get("rf"), start), same, NOISE)
    torch.testing.assert_close(
        ideal.sample(IMAGES, begun(get(name), start), same, NOISE), known, rtol=1e-6, atol=1e-6
    )
    euler = ideal.sample(IMAGES, begun(get("rf"), start), parse("6:1"), NOISE)
    torch.testing.assert_close(euler, known, rtol=1e-6, atol=1e-6)


def test_cosine_by_ddim_on_the_clock_is_rectified_flow_from_pure_noise() -> None:
    one, other = (
        ideal.sample(IMAGES, get(name), parse(how), NOISE)
        for name, how in (("v/cos", "6:1:ddim:clock"), ("rf", "6:1"))
    )
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_it_is_finite_where_sampling_ends() -> None:
    """Exponents of 10^6 at b = 0.002: the largest is taken out first."""
    a, b = torch.ones((), dtype=torch.float64), torch.tensor(0.002).double()
    torch.testing.assert_close(ideal.posterior(IMAGES, IMAGES + b * 0.1, a, b), IMAGES)


@pytest.mark.parametrize("name", ["rf", "v/cos", "eps/ztlinear", "edm(-1.2,1.2)"])
@pytest.mark.parametrize("method", ["euler", "ddim:clock"])
def test_many_steps_end_at_training_images(name: str, method: str) -> None:
    few, many = (ideal.sample(IMAGES, get(name), parse(f"{n}:1:{method}"), NOISE) for n in (3, 400))
    apart = [torch.cdist(found, IMAGES).min(1).values.mean() for found in (few, many)]
    assert apart[1] < 0.1
    assert apart[1] < apart[0] or apart[0] < 1e-6


def test_a_caption_leaves_its_images_and_guidance_goes_beyond_them() -> None:
    a, b = torch.tensor(0.6).double(), torch.tensor(0.7).double()
    x_t, named = a * IMAGES[:3] + b * NOISE[:3], torch.zeros(3, 7, dtype=torch.bool)
    named[0, :4] = named[1, 3:] = named[2] = True
    free, clean = ideal.posterior(IMAGES, x_t, a, b), ideal.posterior(IMAGES, x_t, a, b, named)
    torch.testing.assert_close(clean[0], ideal.posterior(IMAGES[:4], x_t[:1], a, b)[0])
    torch.testing.assert_close(clean[1], ideal.posterior(IMAGES[3:], x_t[1:2], a, b)[0])
    torch.testing.assert_close(clean[2], free[2])
    guided = ideal.posterior(IMAGES, x_t, a, b, named, 5.0)
    torch.testing.assert_close(guided, 5 * clean - 4 * free)


def test_images_are_found_by_any_of_their_captions() -> None:
    found = ideal.having(("one", "two", "none"), (("one",), ("two", "one"), ("two",)))
    assert found.tolist() == [[True, True, False], [False, True, True], [True, True, True]]


def test_only_path_solver_and_grid_matter() -> None:
    setting = Setting(5, 1.0)
    known = ideal.course(get("rf"), setting)
    assert ideal.course(get("rf/lognorm(0,1)"), setting) == ideal.course(get("x/rf@v"), setting) == known
    others = [(get("v/cos"), setting), (get("rf"), Setting(6, 1.0))]
    assert all(ideal.course(*other) != known for other in others)
    ddim = Setting(5, 1.0, "ddim")
    assert ideal.course(get("rf"), ddim) == known
    assert ideal.course(get("v/cos"), ddim) != ideal.course(get("v/cos"), setting)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "--datasets",
        "digits",
        "--formulations",
        "rf",
        "v/cos",
        "--steps",
        "2",
        "--samples",
        "8",
        "--train-images",
        "32",
    ]
    assert ideal.main([*argv, "--out", str(tmp_path)]) == 0
    kept = json.loads((tmp_path / ideal.FILE).read_text())
    assert len(kept["left"]) == 2 * 4
    assert kept["about"]["digits"]["fid_name"].startswith("fid[tinyclip-")
    assert (tmp_path / "ideal.png").stat().st_size > 1000
    printed = capsys.readouterr().out
    assert "digits, euler on the native grid, guidance 1: FID by steps" in printed
    assert kept["about"]["digits"]["captions"] == {"drawn": 8, "without": 0}
    assert ideal.main([*argv, "--no-captions", "--out", str(tmp_path / "free")]) == 0
    free = json.loads((tmp_path / "free" / ideal.FILE).read_text())
    assert free["about"]["digits"]["captions"] == {"drawn": 8, "without": 8}
    assert [row["fid"] for row in free["left"]] != [row["fid"] for row in kept["left"]]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["{}/nowhere"], "nowhere is no run folder: `python -m bench.grid` makes runs/quick"),
        (["{}/file"], "file is no run folder"),
        (["{}"], "grid.json cannot be read (it holds no grid of this version)"),
        (["{}", "--steps", "3"], "--steps is the run's"),
        (["--samples", "0"], "--samples 0"),
        (["--train-images", "1"], "--train-images 1: must be at least 2"),
        (["--cfg", "5", "--no-captions"], "--cfg and --no-captions: choose one"),
        (["--steps", "-3"], "sampler setting -3:1: steps must be at least 1"),
        (["--datasets", "shaps", "--out", "{}/new"], "did you mean 'shapes'?"),
        (["--formulations", "zz", "--out", "{}/new"], "no formulation is called 'zz'"),
        (["--out", "{}/file"], "--out {}/file cannot be written: "),
        (["--out", "{}/file/new"], "--out {}/file/new cannot be written: "),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_computed(
    argv: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ideal, "sample", lambda *given: pytest.fail("it began"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "grid.json").write_text("{}")
    assert ideal.main([word.format(tmp_path) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert words.format(tmp_path) in error
    assert error.count("\n") == 1


def test_datasets_have_the_size_of_their_originals() -> None:
    grids, *_ = ideal.planned(ideal.parser().parse(["--datasets", "digits", "shapes"]))
    assert [grid.images.resolution for grid in grids] == [8, Images().resolution]
    assert dataset("digits").edge == load_digits().images.shape[1]


def test_a_run_has_its_own_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ideal.main([str(tmp_path), "--steps", "5"]) == 2
    assert "--steps is the run's" in capsys.readouterr().err
    with pytest.raises(UserError, match="at least 2"):
        ideal.command(["--train-images", "1"])
