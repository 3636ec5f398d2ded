"""The training loop. It knows no formulation by name: it multiplies what a table of ``[E, B]`` scalars tells it to.

All members of a pack share images, captions, noise and u, and start from the same weights; they differ in seven
scalars a sample. A member whose loss or gradient stops being finite is masked from then on; the others do not notice.
Nothing in a step waits for the device: numbers are read back only where the model is validated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.batches import LEVELS, Batch, Batches
from bench.coefficients import CHUNK, at, coefficients, predict, validation_coefficients
from bench.config import Training
from bench.members import Best, Health
from bench.models.flat import Flat, swapped
from bench.models.mmdit import MMDiT, initialise
from bench.models.shape import Shape
from bench.seeds import seed_for
from formulations import Coeffs, Formulation, common, loss, mix


@dataclass(frozen=True)
class Trained:
    """The pack after training: the model's parameters as a matrix, the best weights of each member, and their health."""

    flat: Flat
    best: Best
    health: Health


Record = Callable[[int, dict[str, Any]], None]
"""Takes (member, a line of ``metrics.jsonl``)."""


def train(
    formulations: Sequence[Formulation],
    shape: Shape,
    recipe: Training,
    batches: Batches,
    validation: tuple[Batch, Tensor],
    seed: int,
    record: Record = lambda member, line: None,
    progress: Callable[[int], None] = lambda step: None,
    compiled: bool = False,
) -> Trained:
    """Train one member for each formulation; keep the weights of its smallest EMA validation loss.

    ``record`` is given a line of metrics for each member at each validation, ``progress`` the number of finished steps.
    """
    device, started = batches.device, time.perf_counter()
    model = MMDiT(shape, len(formulations))
    initialise(model, torch.Generator().manual_seed(seed_for("weights", seed)))
    flat = Flat(model.to(device))
    network = torch.compile(model, dynamic=False) if compiled else model
    optimiser = adamw(flat, recipe)
    ema, best, health = flat.weights.clone(), Best(flat.weights), Health(len(formulations), device)
    held, checks = validation_coefficients(formulations, validation[1], device), validation_steps(recipe)

    for step in range(recipe.steps):
        if step % CHUNK == 0:
            table = coefficients(formulations, batches, step, recipe.steps)
        batch, c = batches.at(step), at(table, step % CHUNK)
        losses = native_loss(network, batch, c, recipe).mean(1)
        losses.sum().backward()

        health.observe(step, losses.detach(), normalise(flat.collect()))
        flat.grads.masked_fill_(~health.alive[:, None], 0.0)
        optimiser.param_groups[0]["lr"] = recipe.lr * rate(step, recipe)
        optimiser.step()
        ema.lerp_(flat.weights, 1 - ema_decay(step, recipe))

        if step + 1 in checks:
            native, shared = validate(network, flat, ema, validation[0], held, recipe)
            best.offer(step + 1, native.mean(1), shared.mean(1), ema, flat.weights, health.alive)
            for member, line in enumerate(
                lines(step + 1, time.perf_counter() - started, health, native, shared)
            ):
                record(member, line)
        progress(step + 1)

    return Trained(flat, best, health)


def adamw(flat: Flat, recipe: Training) -> torch.optim.AdamW:
    """One AdamW over the whole matrix of parameters."""
    leaf = torch.nn.Parameter(flat.weights)
    leaf.grad = flat.grads
    return torch.optim.AdamW([leaf], lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def native_loss(network: Callable[..., Tensor], batch: Batch, c: Coeffs, recipe: Training) -> Tensor:
    """Each member's own loss of each sample, ``[E, B]``."""
    with autocast(recipe, batch.x.device):
        out = predict(network, mix(batch.x, batch.noise, c), c, batch.tokens, batch.pooled)
    return loss(out, batch.x, batch.noise, c)


@torch.no_grad()
def validate(
    network: Callable[..., Tensor], flat: Flat, weights: Tensor, batch: Batch, c: Coeffs, recipe: Training
) -> tuple[Tensor, Tensor]:
    """Native and common loss ``[E, 8]`` per noise level of ``weights [E, P]`` on the validation batch."""
    native, shared = [], []
    with swapped(flat, weights):
        for rows in torch.arange(len(batch.x), device=batch.x.device).split(recipe.batch):
            part, k = Batch(*(v[rows] for v in batch)), Coeffs(*(v[:, rows] for v in c))
            with autocast(recipe, batch.x.device):
                out = predict(network, mix(part.x, part.noise, k), k, part.tokens, part.pooled)
            native.append(loss(out, part.x, part.noise, k))
            shared.append(loss(out, part.x, part.noise, common(k)))
    by_level = (-1, len(LEVELS))
    means = [torch.cat(parts, 1).unflatten(1, by_level).mean(1) for parts in (native, shared)]
    return means[0], means[1]


def normalise(grads: Tensor) -> Tensor:
    """Scale each member's gradient ``[E, P]`` to norm 1; returns the norms before, ``[E]``.

    With AdamW's own invariance nothing then depends on the unit of a native loss: a formulation whose weight is
    multiplied by a constant is the same formulation, and trains the same. An absolute clip would not see it so.
    """
    norms: Tensor = grads.norm(dim=1)
    grads.div_(norms.clamp_min(1e-30)[:, None])
    return norms


def rate(step: int, recipe: Training) -> float:
    """Learning rate as a share of its peak: linear warm-up, then flat, then linear to zero over the last ``decay``."""
    up = min(1.0, (step + 1) / max(recipe.warmup, 1))
    if not recipe.decay:
        return up
    return min(up, (recipe.steps - step) / (recipe.decay * recipe.steps), 1.0)


def ema_decay(step: int, recipe: Training) -> float:
    """EMA decay of a step: time constant ``ema steps``, shorter in the beginning so that the start is forgotten."""
    constant = max(1.0, recipe.ema * recipe.steps)
    return min(1 - 1 / constant, (1 + step) / (10 + step))


def validation_steps(recipe: Training) -> set[int]:
    """The steps after which the model is validated: ``validations`` of them, evenly spaced, the last one included."""
    count = min(recipe.validations, recipe.steps)
    return {round((i + 1) * recipe.steps / count) for i in range(count)}


def lines(
    step: int, seconds: float, health: Health, native: Tensor, shared: Tensor
) -> Iterator[dict[str, Any]]:
    """Each member's line of ``metrics.jsonl``; numbers that are not finite become null, as JSON has none."""
    columns = (health.mean_loss().tolist(), native.tolist(), shared.tolist(), health.alive.tolist())
    for train_loss, by_level, common_by_level, alive in zip(*columns, strict=True):
        yield {
            "step": step,
            "seconds": round(seconds, 3),
            "train_loss": finite(train_loss),
            "val_loss": finite(sum(common_by_level) / len(common_by_level)),
            "val_native": [finite(v) for v in by_level],
            "val_common": [finite(v) for v in common_by_level],
            "alive": alive,
        }


def finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite."""
    return value if abs(value) < float("inf") else None


def autocast(recipe: Training, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 matrix products if the recipe asks for them; weights, coefficients, loss and EMA stay float32."""
    if recipe.precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
