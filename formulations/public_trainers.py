"""Options with which public trainers train a rectified flow: with our timesteps, and an unweighted loss of the velocity.

What each trainer does was read in its source: from which end it counts timesteps, where it shifts them, and by what it
multiplies the loss. ``tests/formulations/test_public_trainers.py`` restates that and compares the densities.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import formulations
from flowbench._core.grammar import Call, parse
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")


@dataclass(frozen=True)
class Law:
    """Timesteps: a distribution by its name and numbers, shifted by ``shift``. The shift of a logit-normal is in its mean: a
    shift by alpha adds ln alpha."""

    word: str
    numbers: tuple[float, ...] = ()
    shift: float = 1.0


@dataclass(frozen=True)
class Trainer:
    """A public trainer: its name, its options for a law or None where it cannot draw it, and why it cannot."""

    name: str
    options: Callable[[Law], str | None]
    lacks: str


def options(name: str) -> dict[str, str | None]:
    """The options for a formulation by the name of each trainer; None where it cannot train the formulation."""
    found = law(name)
    return {trainer.name: trainer.options(found) if found else None for trainer in TRAINERS}


def law(name: str) -> Law | None:
    """The timesteps of a formulation; None unless it is a rectified flow with a distribution that some trainer has."""
    drawn = formulations.get(name).law.name
    return shifted(parse(drawn)) if drawn and is_rectified_flow(name) else None


def is_rectified_flow(name: str) -> bool:
    """Whether a formulation's path, target and scaling are those of rectified flow, whatever its timesteps."""
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    ours, plain = (formulations.get(each).coeffs(t) for each in (name, "rf"))
    return all(
        torch.allclose(getattr(ours, part), getattr(plain, part))
        for part in ("a", "b", "p", "q", "c_in", "c_noise", "w")
    )


def shifted(call: Call, shift: float = 1.0) -> Law | None:
    """The law of a sampler's name, shifted."""
    match call:
        case Call("shift", (float(alpha), *inner)):
            plain = Call("uniform")
            return shifted(next((arg for arg in inner if isinstance(arg, Call)), plain), alpha * shift)
        case Call("lognorm", (float(m), float(s))):
            return Law("lognorm", (m + math.log(shift), s))
        case Call("uniform" | "cosmap"):
            return Law(call.word, (), shift)
        case Call("mode" | "beta", numbers):
            return Law(call.word, tuple(n for n in numbers if isinstance(n, float)), shift)
    return None


def diffusers(law: Law) -> str | None:
    """Its scripts for SD3 take the u-th of timesteps in *descending* order, so that their u is 1 - t and a mean changes its
    sign; the mode distribution is symmetric. Without the first option the loss is that of images, t^2 times ours."""
    if (found := scheme(law, -1)) is None:
        return None
    shift = f', and "shift": {law.shift:g} in scheduler/scheduler_config.json' if law.shift != 1 else ""
    return f"--precondition_outputs 0 {found}{shift}"


def scheme(law: Law, sign: int) -> str | None:
    """``--weighting_scheme`` with its numbers; ``sign`` of a mean is -1 where u is 1 - t."""
    match law:
        case Law("uniform"):
            return "--weighting_scheme none"
        case Law("lognorm", (m, s)):
            return f"--weighting_scheme logit_normal --logit_mean {0.0 + sign * m:g} --logit_std {s:g}"
        case Law("mode", (s,)):
            return f"--weighting_scheme mode --mode_scale {s:g}"
    return None


def sd_scripts_sd3(law: Law) -> str | None:
    """u is t, shifted. The loss is that of images, t^2 times ours, but for ``sigma_sqrt``, which divides it by t^2 and draws
    uniformly; at t = 0 that is 0 / 0, so that the first timestep is left out."""
    if law.word != "uniform":
        return None
    return f"--weighting_scheme sigma_sqrt --min_timestep 1 --training_shift {law.shift:g}"


def sd_scripts_flux(law: Law) -> str | None:
    """``shift`` is a logit-normal of mean 0, shifted; ``sigma`` is as in diffusers, from a scheduler that shifts."""
    raw = "--model_prediction_type raw --timestep_sampling"
    match law:
        case Law("lognorm", (m, s)):
            return f"{raw} shift --sigmoid_scale {s:g} --discrete_flow_shift {math.exp(m):g}"
        case Law("uniform" | "mode"):
            return f"{raw} sigma {scheme(law, -1)} --discrete_flow_shift {law.shift:g}"
    return None


def simple_tuner(law: Law) -> str | None:
    """Its sigma is t; every law is shifted, a logit-normal has mean 0 before. The default of the shift is not 1."""
    match law:
        case Law("lognorm", (m, s)):
            return f"--flow_sigmoid_scale {s:g} --flow_schedule_shift {math.exp(m):g}"
        case Law("uniform"):
            return f"--flow_use_uniform_schedule --flow_schedule_shift {law.shift:g}"
        case Law("beta", (a, b)):
            kind = (
                f"--flow_use_beta_schedule --flow_beta_schedule_alpha {a:g} --flow_beta_schedule_beta {b:g}"
            )
            return f"{kind} --flow_schedule_shift {law.shift:g}"
    return None


def one_trainer(law: Law) -> str | None:
    """Its timestep counts from data; the deviation of a logit-normal is ``noising_weight`` + 1."""
    match law:
        case Law("uniform"):
            kind, bias, weight = "UNIFORM", 0.0, 0.0
        case Law("lognorm", (m, s)):
            kind, bias, weight = "LOGIT_NORMAL", m, s - 1
        case Law("mode", (s,)):
            kind, bias, weight = "HEAVY_TAIL", 0.0, s
        case Law("cosmap"):
            kind, bias, weight = "COS_MAP", 0.0, 0.0
        case _:
            return None
    numbers = f'"noising_bias": {bias:g}, "noising_weight": {weight:g}, "timestep_shift": {law.shift:g}'
    return f'"timestep_distribution": "{kind}", {numbers}, "loss_weight_fn": "CONSTANT"'


TRAINERS = (
    Trainer("diffusers, train_*_sd3.py", diffusers, "it draws uniform, logit-normal and mode timesteps"),
    Trainer(
        "sd-scripts, sd3_train_network.py",
        sd_scripts_sd3,
        "its loss is ours for uniform timesteps only, and otherwise t^2 times ours",
    ),
    Trainer(
        "sd-scripts, flux_train_network.py",
        sd_scripts_flux,
        "it draws uniform, logit-normal and mode timesteps",
    ),
    Trainer("SimpleTuner", simple_tuner, "it draws uniform, logit-normal and Beta timesteps"),
    Trainer("OneTrainer", one_trainer, "it draws uniform, logit-normal, mode and CosMap timesteps"),
)
