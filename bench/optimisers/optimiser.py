"""What an optimiser is, the registry of them, and ``get``. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeVar

from bench.config.experiment import Training
from bench.config.identity import OPTIMISER, marked
from flowbench._core.errors import UserError, nearest
from flowbench._core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

    from bench.models.flat import Flat

F = TypeVar("F", bound=Callable[..., "Method"])


class Optimiser(Protocol):
    """The optimiser of a pack while it trains. It reads ``flat.grads [E, P]`` and changes ``flat.weights [E, P]``.

    Every member is optimised as if it were alone. Tensors that outlive a step stay where they are, and nothing waits for
    the device: on a GPU the step is recorded into a CUDA graph.
    """

    def step(self, lr: float | Tensor) -> None:
        """One update in place; ``lr`` is the step's learning rate, on a GPU a tensor of shape ``[]``."""

    def state(self) -> dict[str, Tensor]:
        """What one step leaves to the next, ``[E, ...]`` by name: a checkpoint is made of it, and copied into it."""

    def resume(self, step: int) -> None:
        """Continue after so many steps, once the state is in place."""


@dataclass(frozen=True)
class Method:
    """A way to optimise.

    Attributes:
        make: the optimiser of a pack, from all its parameters and the recipe.
        copies: the most that its state takes, in tensors of the size of the parameters; for the estimate of memory.
        uses: the options that it reads, of those that not every optimiser reads (:data:`OPTIONS`); others are refused.
        elementwise: whether it reads only ``flat.weights`` and ``flat.grads``, and optimises any of their columns as if
            there were no others, so that replicas can divide them (``--shard``).
        name: its canonical name; given by :func:`get`.
    """

    make: Callable[[Flat, Training], Optimiser]
    copies: float
    uses: tuple[str, ...] = ()
    elementwise: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.uses if name not in OPTIONS]:
            raise UserError(f"an optimiser cannot use {unknown[0]!r}; {nearest(unknown[0], OPTIONS)}")


OPTIONS = tuple(f.name for f in fields(Training) if marked(f, OPTIMISER))
"""The fields of a recipe that an optimiser may use or not; its schedule of ``lr`` serves all."""

registry: Registry[Method] = Registry("optimiser")


def register(template: str) -> Callable[[F], F]:
    """Decorator that adds an optimiser: ``@register("mine(a)")`` on a function of numbers that returns a :class:`Method`.

    Raises:
        UserError: a malformed or existing name, or parameters that differ from the function's.
    """
    return registry.register(template)


@lru_cache(maxsize=256)
def get(spec: str) -> Method:
    """The optimiser of that name, e.g. ``get("muon(0.9)")``; any spelling of the numbers is read.

    Raises:
        UserError: an unknown name (with the nearest ones), or parameters that do not fit.
    """
    name, method = registry.make(spec, Method)
    return replace(method, name=name)


registry.caches.append(get.cache_clear)


def canonical(recipe: Training) -> Training:
    """The recipe with its optimiser's canonical name.

    Raises:
        UserError: no such optimiser, or an option that it ignores.
    """
    method = get(recipe.optimiser)
    for f in fields(recipe):
        if f.name in OPTIONS and f.name not in method.uses and getattr(recipe, f.name) != f.default:
            used = " and ".join(option(name) for name in method.uses)
            raise UserError(
                f"{option(f.name)}: the optimiser {method.name} ignores it, and uses {used or 'none of its kind'}: "
                f"leave it out, or choose another --optimiser"
            )
    return replace(recipe, optimiser=method.name)


def option(field: str) -> str:
    """``--weight-decay``."""
    return f"--{field.replace('_', '-')}"
