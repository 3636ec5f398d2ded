"""The training loop. It depends on no formulation by name, only on its table of ``[E, B]`` scalars.

All members of a pack share images, captions, noise and u, and start from the same weights; they differ in seven
scalars a sample. A member whose loss or gradient stops being finite is out from then on; the others do not notice.
Nothing in a step waits for the device: numbers are read back only where the model is validated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bench import objectives, optimisers
from bench.config.experiment import Training
from bench.config.seeds import seed_for
from bench.machine.graph import Graph
from bench.machine.resident import moved
from bench.machine.stage_timer import Stages
from bench.models.flat import Flat, swapped
from bench.models.shape import Shape
from bench.objectives import Batch, Frozen, Predict
from bench.objectives import State as Facts
from bench.training.batches import LEVELS, Batches, chunk, micro_batches
from bench.training.called_blocks import called
from bench.training.checkpoint import Checkpointer, State, Stopped
from bench.training.coefficients import predict, validation_coefficients
from bench.training.feed import Feed
from bench.training.members import Best, Health, finite
from bench.training.probes import probed
from bench.training.replicas import ALONE, Replicas
from flowbench._core.errors import UserError
from formulations import Coeffs, Formulation, common, loss, mix

Start = Sequence[Mapping[str, Tensor]] | None
"""The parameters that each member begins with; None from scratch."""


class Trainer:
    """The members of a pack as they train: weights, gradients, EMA, optimiser and health, and one :meth:`step`.

    All members start from the same weights, which ``seed`` gives, or each from its own of ``start``. A step adds up the
    gradients of ``accumulate`` micro-batches, equal parts of its batch, and averages them over ``replicas``; with
    ``recompute`` blocks are computed again in the backward pass. On a GPU the step is one CUDA graph, or one before that
    average and one after it.
    """

    def __init__(
        self,
        shape: Shape,
        members: int,
        recipe: Training,
        device: torch.device,
        seed: int = 0,
        compiled: bool = False,
        start: Start = None,
        accumulate: int = 1,
        replicas: Replicas = ALONE,
        recompute: bool = False,
    ) -> None:
        self.recipe, self.accumulate, self.replicas = recipe, accumulate, replicas
        self.objective = objectives.get(recipe.objective)
        self.model = shape.build(members)
        self.model.initialise(torch.Generator().manual_seed(seed_for("weights", seed)))
        self.flat = Flat(self.model.to(device))
        if start:
            self.flat.weights.copy_(torch.stack([row(self.flat, named) for named in start]))
        self.network = called(self.model, compiled, recompute)
        self.predict = predictor(self.network, recipe)
        self.optimiser = optimisers.get(recipe.optimiser).make(self.flat, recipe)
        self.ema = self.flat.weights.clone()
        self.start = self.flat.weights.clone() if "start" in self.objective.frozen else None
        self.frozen = [self._frozen(word, shape, compiled) for word in objectives.FROZEN]
        self.health = Health(members, device)
        self.losses = torch.zeros(members, device=device)
        self.fraction = torch.full_like(self.losses, 1 / (accumulate * replicas.count))
        self.replay = Replay(self, device) if device.type == "cuda" else None

    def step(self, index: int, batch: Batch, c: Coeffs) -> None:
        """One update of every member, with coefficients ``c [E, B]``."""
        if self.replay:
            self.replay(index, batch, c)
        else:
            self.update(batch, c, index, *schedule(index, self.recipe))

    def update(
        self, batch: Batch, c: Coeffs, index: int | Tensor, lr: float | Tensor, fresh: float | Tensor
    ) -> None:
        """Forward, backward, scaling of gradients, the optimiser, EMA; every tensor that persists is written in place."""
        self.backward(batch, c, index)
        self.replicas.average(self.flat.grads, self.losses)
        self.apply(index, lr, fresh)

    def backward(self, batch: Batch, c: Coeffs, index: int | Tensor) -> None:
        """Fill ``losses [E]`` with the mean losses of the batch, and the gradients with its part of theirs."""
        found = []
        for part, k in micro_batches(batch, c, self.accumulate):
            losses = self.objective.loss(self.predict, part, k, self.facts(index)).mean(1)
            losses.backward(self.fraction)
            found.append(losses.detach())
        torch.mean(torch.stack(found), 0, out=self.losses)
        self.flat.collect()

    def apply(self, index: int | Tensor, lr: float | Tensor, fresh: float | Tensor) -> None:
        """All that a step makes of losses and gradients."""
        self.health.observe(index, self.losses, scale(self.flat.grads, self.recipe))
        self.optimiser.step(lr)
        self.ema.lerp_(self.flat.weights, fresh)

    def facts(self, step: int | Tensor) -> Facts:
        """What the objective may use after so many steps."""
        return Facts(step, *self.frozen)

    def _frozen(self, word: Frozen, shape: Shape, compiled: bool) -> Predict:
        """A second network on other weights, which it reads where they are."""
        if word not in self.objective.frozen:
            return objectives.undeclared(word)
        weights = self.ema if self.start is None or word == "ema" else self.start
        twin = shape.build(self.model.members).requires_grad_(False).to(weights.device)
        for parameter, held in zip(twin.parameters(), self.flat.views(weights), strict=True):
            parameter.data = held
        return torch.no_grad()(predictor(called(twin, compiled, recompute=False), self.recipe))

    def release(self) -> None:
        """Let go of the CUDA graph and its memory: it refers back to the trainer."""
        self.replay = None


def row(flat: Flat, named: Mapping[str, Tensor]) -> Tensor:
    """One member's parameters as a row ``[P]``. Raises :class:`UserError` for those of another network."""
    have = dict(zip(flat.names, flat.shapes, strict=True))
    for name in have.keys() | named.keys():
        shape = tuple(named[name].shape) if name in named else None
        if shape != have.get(name):
            raise UserError(
                f"training cannot begin with weights of another network: {name} is {shape}, not {have.get(name)}"
            )
    return flat.row(named)


def predictor(network: Callable[..., Tensor], recipe: Training) -> Predict:
    """A network as objectives call it."""
    return partial(predict, network, precision=recipe.precision)


class Replay:
    """A trainer's update as a CUDA graph: every step's inputs are copied to where the graph reads them."""

    def __init__(self, trainer: Trainer, device: torch.device) -> None:
        self.trainer = trainer
        steps = range(trainer.recipe.steps)
        table = [[step, *schedule(step, trainer.recipe)] for step in steps]
        self.schedule = moved(torch.tensor(table, dtype=torch.float64), device)
        self.index = torch.zeros((), dtype=torch.long, device=device)
        self.lr, self.fresh = (torch.zeros((), device=device) for _ in range(2))
        self.graph, self.rest = Graph(device), Graph(device)
        self.inputs: tuple[Batch, Coeffs] | None = None

    def __call__(self, index: int, batch: Batch, c: Coeffs) -> None:
        """One step."""
        if self.inputs is None:
            self.inputs = Batch(*map(torch.clone, batch)), Coeffs(*map(torch.clone, c))
        for place, value in zip(
            (*self.inputs[0], *self.inputs[1], self.index, self.lr, self.fresh),
            (*batch, *c, *self.schedule[index]),
            strict=True,
        ):
            place.copy_(value)
        trainer = self.trainer
        if trainer.replicas.count == 1:
            self.graph(self.update)
        else:
            self.graph(self.backward)
            trainer.replicas.average(trainer.flat.grads, trainer.losses)
            self.rest(self.apply)

    def update(self) -> None:
        """The trainer's update on the graph's inputs."""
        assert self.inputs is not None
        self.trainer.update(*self.inputs, self.index, self.lr, self.fresh)

    def backward(self) -> None:
        """Its first half."""
        assert self.inputs is not None
        self.trainer.backward(*self.inputs, self.index)

    def apply(self) -> None:
        """Its second half."""
        self.trainer.apply(self.index, self.lr, self.fresh)


def schedule(index: int, recipe: Training) -> tuple[float, float]:
    """Learning rate of a step, and the fraction of the new weights in the EMA."""
    return recipe.lr * rate(index, recipe), 1 - ema_decay(index, recipe)


@dataclass(frozen=True)
class Trained:
    """The pack after training: the model's parameters as a matrix, the best weights of each member, and their health."""

    flat: Flat
    best: Best
    health: Health


Record = Callable[[int, list[dict[str, Any]]], None]
"""Takes (member, all its lines of ``metrics.jsonl`` so far)."""


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
) -> Trained:
    """Train one member for each formulation; keep the weights of its smallest EMA validation loss.

    ``record`` is given each member's lines of metrics at each validation, ``progress`` the number of finished steps;
    with ``probes`` these have attention's, too (:mod:`bench.training.probes`).
    ``checkpointer`` finds a state to continue from, and saves it now and then. Of several replicas the first one validates,
    and all have its state. Raises :class:`UserError` for a ``start`` of another network.
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
        state = State(trainer, best, [[] for _ in formulations])
        first = replicas.resume(checkpointer.load(state), state)
        for member, lines in enumerate(state.lines):
            record(member, lines)

    try:
        for step in range(first, recipe.steps):
            with stages("compile" if compiled and step == first else "train"):
                trainer.step(step, *feed.at(step))
                if step + 1 in checks and replicas.first:
                    native, shared = validate(trainer, validation[0], held, step + 1)
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
    except Stopped:
        replicas.agree(None)  # once all is saved
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


def scale(grads: Tensor, recipe: Training) -> Tensor:
    """Scale each member's gradient ``[E, P]`` as the recipe says; returns the norms before, ``[E]``.

    AdamW does not see the unit of a native loss, but for its eps of 1e-8: a formulation whose weight is multiplied by a
    constant trains the same with ``plain`` and ``normalised`` gradients. With ``clip:X`` it does not.
    """
    norms: Tensor = grads.norm(dim=1)
    if recipe.gradients != "plain":
        most = recipe.clip
        factor = norms.clamp_min(1e-30).reciprocal()
        grads.mul_((factor if most is None else (most * factor).clamp(max=1.0))[:, None])
    return norms


def rate(step: int, recipe: Training) -> float:
    """Learning rate as a fraction of its peak: linear warm-up, then flat, then linear to zero over the last ``decay``."""
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
