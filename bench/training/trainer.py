"""One step of training: forward, backward, gradients scaled, the optimiser, EMA; on a GPU as a CUDA graph. It depends on no
formulation by name, and nothing in it waits for the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from bench import objectives, optimisers
from bench.config.experiment import Training
from bench.config.seeds import seed_for
from bench.machine.graph import Graph
from bench.machine.resident import moved
from bench.models.flat import Flat
from bench.models.network import Network
from bench.models.part import Part
from bench.models.shape import Shape
from bench.objectives import Batch, Frozen, Predict
from bench.objectives import State as Facts
from bench.training.batches import micro_batches
from bench.training.called_blocks import called
from bench.training.coefficients import predict
from bench.training.members import Health
from bench.training.replicas import ALONE, Replicas
from flowbench._core.errors import UserError
from formulations import Coeffs

Start = Sequence[Mapping[str, Tensor]] | None
"""The parameters that each member begins with; None from scratch."""


class Trainer:
    """The members of a pack as they train: weights, gradients, EMA, optimiser and health, and one :meth:`step`.

    All members start from the same weights, which ``seed`` gives, or each from its own of ``start``. A step adds up the
    gradients of ``accumulate`` micro-batches, equal parts of its batch, and averages them over ``replicas``; with
    ``recompute`` blocks are computed again in the backward pass. On a GPU the step is one CUDA graph, or one before that
    average and one after it; none where replicas divide the parameters of the only member.
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
        self.flat = flat_of(self.model, replicas, device, recipe)
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
        parts = accumulate if replicas.divided else accumulate * replicas.count
        self.fraction = torch.full_like(self.losses, 1 / parts)
        self.replay = Replay(self, device) if device.type == "cuda" and not replicas.divided else None

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
        norms = self.replicas.norms(self.flat.grads)
        scale(self.flat.grads, norms, self.recipe)
        self.health.observe(index, self.losses, norms)
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


def flat_of(model: Network, replicas: Replicas, device: torch.device, recipe: Training) -> Flat:
    """The parameters of a model on the device, or the part of them that this replica has."""
    if not replicas.divided:
        return Flat(model.to(device))
    from bench.training.divided_flat import DividedFlat  # a second that only this needs

    return DividedFlat(model, Part(replicas.rank, replicas.count), device, recipe.precision)


def row(flat: Flat, named: Mapping[str, Tensor]) -> Tensor:
    """One member's parameters as a row ``[P]``. Raises :class:`UserError` for those of another network."""
    have = dict(zip(flat.whole.names, flat.whole.shapes, strict=True))
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


def scale(grads: Tensor, norms: Tensor, recipe: Training) -> None:
    """Scale each member's gradient ``[E, P]`` of norm ``[E]`` in place, as the recipe says.

    AdamW does not see the unit of a native loss, but for its eps of 1e-8: a formulation whose weight is multiplied by a
    constant trains the same with ``plain`` and ``normalised`` gradients. With ``clip:X`` it does not.
    """
    if recipe.gradients != "plain":
        most = recipe.clip
        factor = norms.clamp_min(1e-30).reciprocal()
        grads.mul_((factor if most is None else (most * factor).clamp(max=1.0))[:, None])


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
