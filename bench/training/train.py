"""The training loop. It depends on no formulation by name, only on its table of ``[E, B]`` scalars.

All members of a pack share images, captions, noise and u, and start from the same weights; they differ in seven
scalars a sample. A member whose loss or gradient stops being finite is out from then on; the others do not notice.
Nothing in a step waits for the device: numbers are read back only where the model is validated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.config import kept_weights
from bench.config.experiment import Training
from bench.machine.stage_timer import Stages
from bench.models.flat import Flat, swapped
from bench.models.shape import Shape
from bench.objectives import Batch
from bench.training.batches import LEVELS, Batches, chunk
from bench.training.checkpoint import Checkpointer, State, Stopped
from bench.training.coefficients import validation_coefficients
from bench.training.feed import Feed
from bench.training.members import Best, Health, finite
from bench.training.probes import probed
from bench.training.replicas import collective, parted
from bench.training.trainer import Start, Trainer, predictor
from formulations import Coeffs, Formulation, common, loss, mix


@dataclass(frozen=True)
class Trained:
    """The pack after training: the model's parameters as a matrix, the best weights of each member, and their health."""

    flat: Flat
    best: Best
    health: Health


Record = Callable[[int, list[dict[str, Any]]], None]
"""Takes (member, all its lines of ``metrics.jsonl`` so far)."""
Keep = Callable[[int, str, dict[str, Tensor]], None]
"""Takes (member, name of a milestone's weights, its parameters by their names)."""


def train(
    formulations: Sequence[Formulation],
    shape: Shape,
    recipe: Training,
    batches: Batches,
    validation: tuple[Batch, Tensor],
    seed: int,
    record: Record = lambda member, lines: None,
    progress: Callable[[int], None] = lambda step: None,
    compiled: bool = False,
    stages: Stages | None = None,
    checkpointer: Checkpointer | None = None,
    start: Start = None,
    accumulate: int = 1,
    recompute: bool = False,
    probes: bool = False,
    keep: Keep = lambda member, name, weights: None,
) -> Trained:
    """Train one member for each formulation; keep the weights of its smallest EMA validation loss.

    ``record`` is given each member's lines of metrics at each validation, ``progress`` the number of finished steps;
    with ``probes`` these have attention's, too (:mod:`bench.training.probes`). ``keep`` is given the weights of each member
    at each milestone, until it diverges.
    ``checkpointer`` finds a state to continue from, and saves it now and then. Of several replicas the first one validates,
    and all have its state; if parameters are divided, all validate, and the first one returns the best weights. Raises
    :class:`UserError` for a ``start`` of another network.
    """
    replicas, device, stages, checkpointer = (
        batches.replicas,
        batches.device,
        stages or Stages(),
        checkpointer or Checkpointer((), math.inf),
    )
    with stages("train"):
        how = seed, compiled, start, accumulate, replicas, recompute
        trainer = Trainer(shape, len(formulations), recipe, device, *how)
        feed, best = Feed(formulations, batches, recipe.steps), Best(trainer.flat.weights)
        held, checks = validation_coefficients(formulations, validation[1], device), validation_steps(recipe)
        due = milestone_steps(recipe)
        state = State(trainer, best, [[] for _ in formulations])
        first = replicas.resume(checkpointer.load(state), state)
        for member, lines in enumerate(state.lines):
            record(member, lines)

    try:
        for step in range(first, recipe.steps):
            with stages("compile" if compiled and step == first else "train"):
                trainer.step(step, *feed.at(step))
                for fraction in due.get(step + 1, ()):
                    pass_milestone(trainer, fraction, keep)
                if step + 1 in checks and (replicas.first or replicas.divided):
                    native, shared = validate(trainer, validation[0], held, step + 1)
                    replicas.keepers.copy_first(native, shared)
                    ema, raw, alive = trainer.ema, trainer.flat.weights, trainer.health.alive
                    best.offer(step + 1, native.mean(1), shared.mean(1), ema, raw, alive)
                    found = lines_of(step + 1, checkpointer.elapsed(), trainer.health, native, shared)
                    if probes:
                        seen = probed(trainer.model, validation[0], held, recipe.precision)
                        found = (line | more for line, more in zip(found, seen, strict=True))
                    for member, (lines, line) in enumerate(zip(state.lines, found, strict=True)):
                        lines.append(line)
                        record(member, lines)
            progress(step + 1)
            if step + 1 < recipe.steps:
                with stages("store"):
                    checkpointer(step + 1, state)
        best.ema, best.raw = map(trainer.flat.gathered, (best.ema, best.raw))
    except Stopped:
        replicas.agree(None)  # once all is saved
        raise
    except RuntimeError as error:
        if collective(error):
            raise parted(error) from None
        raise
    finally:
        trainer.release()
    return Trained(trainer.flat, best, trainer.health)


@torch.no_grad()
def validate(trainer: Trainer, batch: Batch, c: Coeffs, step: int = 0) -> tuple[Tensor, Tensor]:
    """The objective's and the common loss ``[E, 8]`` per noise level of the EMA weights on the validation batch."""
    native, shared = [], []
    network, facts = predictor(trainer.model, trainer.recipe), trainer.facts(step)
    with swapped(trainer.flat, trainer.ema):
        at_once = chunk(batch.x.device, trainer.model.members)
        for rows in torch.arange(len(batch.x), device=batch.x.device).split(at_once):
            part, k = Batch(*(v[rows] for v in batch)), Coeffs(*(v[:, rows] for v in c))
            out = network(mix(part.x, part.noise, k), k, part.tokens, part.pooled)
            native.append(trainer.objective.validation_loss(out, network, part, k, facts))
            shared.append(loss(out, part.x, part.noise, common(k)))
    by_level = (-1, len(LEVELS))
    means = [torch.cat(parts, 1).unflatten(1, by_level).mean(1) for parts in (native, shared)]
    return means[0], means[1]


def validation_steps(recipe: Training) -> set[int]:
    """The steps after which the model is validated: ``validations`` of them, evenly spaced, the last one included."""
    count = min(recipe.validations, recipe.steps)
    return {round((i + 1) * recipe.steps / count) for i in range(count)}


def milestone_steps(recipe: Training) -> dict[int, list[float]]:
    """The steps after which weights are kept, each with its milestones."""
    found: dict[int, list[float]] = {}
    for fraction in recipe.milestones:
        found.setdefault(kept_weights.step_of(fraction, recipe.steps), []).append(fraction)
    return found


def pass_milestone(trainer: Trainer, fraction: float, keep: Keep) -> None:
    """Give ``keep`` the weights of every living member. Replicas that divide the parameters gather them at the first one."""
    for kind, own in (("ema", trainer.ema), ("raw", trainer.flat.weights)):
        rows = trainer.flat.gathered(own)
        for member, alive in enumerate(trainer.health.alive.tolist() if trainer.replicas.first else ()):
            if alive:
                parameters = trainer.flat.whole.member(rows[member].cpu())
                keep(member, kept_weights.named(kind, fraction), parameters)


def lines_of(
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
