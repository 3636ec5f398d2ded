"""The options for public trainers: under them, each trainer's own rule draws our timesteps, and weights our loss equally.

The rules are restated here from what the trainers' sources do, by quantiles instead of random numbers, and read nothing but
the options.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import formulations
from formulations.public_trainers import TRAINERS, is_rectified_flow, law, options

U = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
Rule = Callable[[str], tuple[Tensor, Tensor]]
"""From options to timesteps, 0 for data, and the weights of the squared error of the velocity there."""

NAMES = (
    "rf",
    "rf/lognorm(0,1)",
    "rf/lognorm(0.7,0.6)",
    "rf/lognorm(-1,1.2)",
    "rf/mode(1.29)",
    "rf/mode(-0.5)",
    "rf/cosmap",
    "rf/beta(2,1.5)",
    "rf/shift(3)",
    "rf/shift(2,shift(1.5))",
    "rf/shift(3,lognorm(-0.5,0.6))",
    "rf/shift(0.5,mode(1.29))",
    "rf/shift(3,cosmap)",
    "rf/shift(3,beta(2,1.5))",
)


def flags(given: str) -> Any:
    """The values of flags, which are numbers but for a few."""
    words, found = given.split(), {}
    while words:
        name = words.pop(0).removeprefix("--")
        value = words.pop(0) if words and not words[0].startswith("--") else "1"
        found[name] = (
            float(value)
            if name not in ("weighting_scheme", "timestep_sampling", "model_prediction_type")
            else value
        )
    return SimpleNamespace(**found)


def normal(mean: float, deviation: float) -> Tensor:
    return torch.sigmoid(mean + deviation * torch.special.ndtri(U))


def heavy(scale: float) -> Tensor:
    return 1 - U - scale * (torch.cos(math.pi * U / 2) ** 2 - 1 + U)


def moved(t: Tensor, shift: float) -> Tensor:
    return t * shift / (1 + (shift - 1) * t)


def density(args: Any) -> Tensor:
    """The u of a weighting scheme, as diffusers and scripts made after it draw it."""
    if args.weighting_scheme == "logit_normal":
        return normal(args.logit_mean, args.logit_std)
    return heavy(args.mode_scale) if args.weighting_scheme == "mode" else U


def of_scheduler(u: Tensor, shift: float) -> Tensor:
    """The u-th of a scheduler's 1,000 timesteps, which descend from noise."""
    timesteps = moved(torch.arange(1000, 0, -1, dtype=torch.float64) / 1000, shift)
    return timesteps[(u * 1000).long().clamp(0, 999)]


def diffusers(given: str) -> tuple[Tensor, Tensor]:
    given, _, rest = given.partition(", and ")
    args = flags(given)
    t = of_scheduler(density(args), json.loads("{" + rest.partition(" in ")[0] + "}").get("shift", 1.0))
    assert args.precondition_outputs == 0
    return t, torch.ones_like(t)


def sd_scripts_sd3(given: str) -> tuple[Tensor, Tensor]:
    args = flags(given)
    u = moved(density(args), args.training_shift)
    t = (u * (1000 - args.min_timestep) + args.min_timestep).long() / 1000
    return t, t**2 * (t**-2 if args.weighting_scheme == "sigma_sqrt" else torch.ones_like(t))


def sd_scripts_flux(given: str) -> tuple[Tensor, Tensor]:
    args = flags(given)
    if args.timestep_sampling == "shift":
        t = moved(normal(0, args.sigmoid_scale), args.discrete_flow_shift)
    else:
        t = of_scheduler(density(args), args.discrete_flow_shift)
    return t, torch.ones_like(t) if args.model_prediction_type == "raw" else t**2


def simple_tuner(given: str) -> tuple[Tensor, Tensor]:
    from scipy.stats import beta

    args = flags(given)
    if hasattr(args, "flow_use_uniform_schedule"):
        t = U
    elif hasattr(args, "flow_use_beta_schedule"):
        t = torch.from_numpy(beta(args.flow_beta_schedule_alpha, args.flow_beta_schedule_beta).ppf(U.numpy()))
    else:
        t = normal(0, args.flow_sigmoid_scale)
    return moved(t, args.flow_schedule_shift), torch.ones_like(t)


def one_trainer(given: str) -> tuple[Tensor, Tensor]:
    args = SimpleNamespace(**json.loads("{" + given + "}"))
    shift, steps = args.timestep_shift, 1000
    match args.timestep_distribution:
        case "UNIFORM":
            index = moved(U, shift) * steps
        case "LOGIT_NORMAL":
            index = moved(normal(args.noising_bias, args.noising_weight + 1), shift) * steps
        case "HEAVY_TAIL":
            index = moved(heavy(args.noising_weight), shift) * steps
        case "COS_MAP":
            line = torch.linspace(0, 1, steps, dtype=torch.float64)
            before = line / (shift - shift * line + line)
            weights = (
                2 / (math.pi * (1 - 2 * before + 2 * before**2)) * shift / (shift + line - line * shift) ** 2
            )
            index = torch.searchsorted(weights.cumsum(0) / weights.sum(), U).double()
    assert args.loss_weight_fn == "CONSTANT"
    return (index.long().clamp(0, steps - 1) + 1) / steps, torch.ones_like(U)


RULES: dict[str, Rule] = {
    "diffusers, train_*_sd3.py": diffusers,
    "sd-scripts, sd3_train_network.py": sd_scripts_sd3,
    "sd-scripts, flux_train_network.py": sd_scripts_flux,
    "SimpleTuner": simple_tuner,
    "OneTrainer": one_trainer,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trainer", RULES)
def test_a_trainer_draws_our_timesteps_and_weights_them_equally(trainer: str, name: str) -> None:
    given = options(name)[trainer]
    if given is None:
        return
    t, weights = RULES[trainer](given)
    ours = formulations.get(name).law(U)
    coarse = 4e-3  # a thousandth, which a shift by 3 widens
    torch.testing.assert_close(t.double().sort()[0], ours.sort()[0], atol=coarse, rtol=0)
    torch.testing.assert_close(weights.double(), torch.ones_like(U))


@pytest.mark.parametrize(
    ("trainer", "lacking"),
    [
        ("diffusers, train_*_sd3.py", {"cosmap", "beta"}),
        ("sd-scripts, sd3_train_network.py", {"cosmap", "beta", "mode", "lognorm"}),
        ("sd-scripts, flux_train_network.py", {"cosmap", "beta"}),
        ("SimpleTuner", {"cosmap", "mode"}),
        ("OneTrainer", {"beta"}),
    ],
)
def test_a_trainer_has_options_but_for_what_it_lacks(trainer: str, lacking: set[str]) -> None:
    without = {found.word for name in NAMES if options(name)[trainer] is None and (found := law(name))}
    assert without == lacking


def test_every_trainer_has_its_rule_here() -> None:
    assert [trainer.name for trainer in TRAINERS] == list(RULES)


def test_the_rule_of_diffusers_is_that_of_diffusers() -> None:
    library = pytest.importorskip("diffusers")
    training = pytest.importorskip("diffusers.training_utils")
    for given in (
        "--weighting_scheme mode --mode_scale 0.8",
        "--weighting_scheme logit_normal --logit_mean -1 --logit_std 0.6",
    ):
        torch.manual_seed(0)
        u = training.compute_density_for_timestep_sampling(batch_size=40_000, **vars(flags(given)))
        theirs = library.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0)
        drawn = theirs.timesteps[(u * 1000).long().clamp(max=999)].double() / 1000
        restated = of_scheduler(density(flags(given)), 3.0)
        at = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
        torch.testing.assert_close(drawn.quantile(at), restated.quantile(at), atol=0.012, rtol=0)


def test_other_formulations_have_no_options() -> None:
    for name in ("v/cos", "rf/curriculum(lognorm(0,1),0.66)", "rf/ushape(4)"):
        assert law(name) is None
        assert set(options(name).values()) == {None}
    assert not is_rectified_flow("v/cos")
    assert is_rectified_flow("rf/mode(1.29)")
