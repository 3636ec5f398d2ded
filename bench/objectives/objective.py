"""The contract of objectives, what a network is trained to minimise, and their registry. No torch.

    class Huber(Objective):
        def loss(self, network, batch, c, state):
            out = network(mix(batch.x, batch.noise, c), c, batch.tokens, batch.pooled)
            ...
            return losses  # [E, B]

``network(x_t [E, B, C, H, W], c [E, B], tokens, pooled) -> [E, B, C, H, W]`` is the network of all E members with the input
scale and the clock of their formulations; ``c`` has the seven scalars of each sample. Members are trained by the sum of
their mean losses, so each sees its own gradient alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeVar

from bench.config.experiment import Training
from flowbench._core.errors import UserError, nearest
from flowbench._core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from formulations import Coeffs

F = TypeVar("F", bound="Callable[..., Objective]")
Predict = Callable[["Tensor", "Coeffs", "Tensor", "Tensor"], "Tensor"]
"""A network as an objective calls it, see the module's docstring."""
Frozen = Literal["start", "ema"]
FROZEN: tuple[Frozen, ...] = ("start", "ema")


class Batch(NamedTuple):
    """``x``, ``noise`` ``[B, C, H, W]``, ``tokens [B, L, text width]``, ``pooled [B, pooled width]``, all float32."""

    x: Tensor
    noise: Tensor
    tokens: Tensor
    pooled: Tensor


@dataclass(frozen=True)
class State:
    """What an objective may use of the training besides the batch.

    Attributes:
        step: finished steps of this training; a tensor of shape ``[]`` on a GPU.
        start: the network with the weights that this training began with, such as a teacher's; no gradient flows into it.
        ema: the network with the moving average of the weights so far; no gradient flows into it.
    """

    step: int | Tensor
    start: Predict
    ema: Predict


class Objective(ABC):
    """What a training minimises.

    It draws no random numbers, keeps nothing between steps, and does not wait for the device: on a GPU the step is recorded
    into a CUDA graph.
    """

    frozen: ClassVar[tuple[Frozen, ...]] = ()
    """The networks of :class:`State` that it calls; others are not there."""
    passes: ClassVar[float] = 1.0
    """The operations of a step, as a multiple of one forward and backward pass; for estimates of time."""
    coupled: ClassVar[bool] = False
    """Whether the loss of a sample depends on the others of its batch: such a batch is not split."""
    name: str = ""
    """Its canonical name; given by :func:`get`."""

    @property
    def copies(self) -> float:
        """Numbers a parameter that its networks take, beyond the weights and their average."""
        return float("start" in self.frozen)

    @abstractmethod
    def loss(self, network: Predict, batch: Batch, c: Coeffs, state: State) -> Tensor:
        """The loss of each sample ``[E, B]``, which training and the choice of the best weights minimise."""

    def validation_loss(self, out: Tensor, network: Predict, batch: Batch, c: Coeffs, state: State) -> Tensor:
        """The same of held-out samples, whose output ``out`` at ``x_t`` is known: saves a pass where it is enough."""
        return self.loss(network, batch, c, state)


registry: Registry[Objective] = Registry("objective")


def register(template: str) -> Callable[[F], F]:
    """Decorator that adds an objective: ``@register("mine(a)")`` on a function of numbers that returns an
    :class:`Objective`.

    Raises:
        UserError: a malformed or existing name, or parameters that differ from the function's.
    """
    return registry.register(template)


@lru_cache(maxsize=256)
def get(spec: str) -> Objective:
    """The objective of that name, e.g. ``get("mine(0.1)")``; any spelling of the numbers is read.

    Raises:
        UserError: an unknown name (with the nearest ones), or parameters that do not fit.
    """
    name, made = registry.make(spec, Objective)
    if unknown := [word for word in made.frozen if word not in FROZEN]:
        raise UserError(
            f"objective {name!r} has no network {unknown[0]!r} to call; {nearest(unknown[0], FROZEN)}"
        )
    made.name = name
    return made


registry.caches.append(get.cache_clear)


def canonical(recipe: Training) -> Training:
    """The recipe with its objective's canonical name. Raises :class:`UserError` for an unknown one."""
    return replace(recipe, objective=get(recipe.objective).name)


def undeclared(word: Frozen) -> Predict:
    """Stands for a network of :class:`State` that an objective did not declare."""

    def refuse(*arguments: Any) -> Tensor:
        raise UserError(f"it calls state.{word} without declaring it: frozen = ({word!r},)")

    return refuse
