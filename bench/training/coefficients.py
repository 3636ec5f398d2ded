"""The seven scalars of every member as tensors ``[E, ...]``: all that training and sampling use of a formulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.machine.matmul import autocast
from bench.machine.resident import moved
from bench.training.batches import Batches
from formulations import Coeffs, Formulation


def coefficients(formulations: Sequence[Formulation], batches: Batches, steps: range, total: int) -> Coeffs:
    """The seven scalars ``[E, steps, B]`` of some of ``total`` steps; computed in float64, stored in float32. A replica
    keeps those of its samples."""
    u = torch.stack([batches.u(step) for step in steps])
    members = (f.coeffs(times(f, u, steps, total)) for f in formulations)
    return stack([Coeffs(*(v[:, batches.part] for v in each)) for each in members], batches.device)


def times(formulation: Formulation, u: Tensor, steps: range, total: int) -> Tensor:
    """Timesteps for ``u [steps, B]``; step by step where a curriculum changes the sampler on the way."""
    if formulation.law.switch is None:
        return formulation.times(u)
    return torch.stack([formulation.times(row, step / total) for row, step in zip(u, steps, strict=True)])


def validation_coefficients(
    formulations: Sequence[Formulation], levels: Tensor, device: torch.device
) -> Coeffs:
    """The seven scalars ``[E, B]`` at the given levels of the clock."""
    return stack([f.coeffs(f.at_clock(levels)) for f in formulations], device)


def stack(members: Sequence[Coeffs], device: torch.device) -> Coeffs:
    """Members' coefficients stacked along a new first axis, float32 on the device."""
    return Coeffs(*(moved(torch.stack(parts).float(), device) for parts in zip(*members, strict=True)))


def at(table: Coeffs, index: int) -> Coeffs:
    """One step of a ``[E, steps, B]`` table: ``[E, B]``."""
    return Coeffs(*(part[:, index] for part in table))


def predict(
    network: Callable[..., Tensor], x_t: Tensor, c: Coeffs, tokens: Tensor, pooled: Tensor, precision: str
) -> Tensor:
    """The network's output for noisy images ``x_t [E, B, C, H, W]``, with the formulation's input scale and clock."""
    with autocast(precision, x_t.device):
        return network(c.c_in[..., None, None, None] * x_t, c.c_noise, tokens, pooled).float()
