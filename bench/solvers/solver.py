"""What a solver is: a table of linear combinations of the images and noises that the network's outputs decode to.

In evaluation i the network is asked at native time ``tau_i`` for the state x_i; its (guided) output decodes to a clean image
``x^_i`` and a noise ``n^_i``. The next state combines the newest K of them, and the last one is the drawn image:

    x_{i+1} = sum_{j < K} A[i, j] x^_{i-j} + B[i, j] n^_{i-j} + S[i] z_i

An evaluation leaves ``x_i = a x^_i + b n^_i``, so that x_i itself needs no term. A solver of an SDE adds fresh normal noise
``z_i``. Solvers know no network and no guidance.
"""

from __future__ import annotations

import hashlib
import inspect
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flowbench._core.errors import UserError
from flowbench._core.grammar import PLAIN
from flowbench._core.lazy import lazy
from flowbench._core.plugin import text_behind
from flowbench._core.registry import Registry, blame
from formulations import Formulation

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


@dataclass(frozen=True, eq=False)
class Steps:
    """The table of a solver for one formulation and one grid of times: N evaluations; the newest K count."""

    times: Tensor
    """``[N]``: the native time of each evaluation; the first is where the grid begins, none lies above it, none at 0."""
    image: Tensor
    """``[N, K]``: A, the factors of x^; those of evaluations before the first are 0."""
    noise: Tensor
    """``[N, K]``: B, those of n^"""
    fresh: Tensor | None = None
    """``[N]``: S, the standard deviation of noise that is added; None for a solver of the ODE"""


class Course(Protocol):
    """The tables of a solver, whose leading axes are those of the states, such as a pack's members."""

    @property
    def image(self) -> Tensor: ...  # [..., N, K]
    @property
    def noise(self) -> Tensor: ...  # [..., N, K]
    @property
    def fresh(self) -> Tensor | None: ...  # [..., N]


Table = Callable[[Formulation, "Tensor"], Steps]
"""From the native times ``[steps]`` that the steps leave, float64 and descending; the last step ends at data, t = 0."""


def one_a_step(steps: int) -> int:
    """As many evaluations as steps."""
    return steps


@dataclass(frozen=True)
class Solver:
    """A registered solver: its table, the ``order`` of its error in the length of a step, and how many evaluations of the
    network so many steps take."""

    name: str
    order: int
    table: Table
    count: Callable[[int], int] = one_a_step
    least: int = 1
    """Fewest steps with which it is no simpler method on any path, also on one that begins at pure noise."""

    def evaluations(self, steps: int) -> int:
        """Evaluations of the network in so many steps. Raises :class:`UserError` unless that is a whole number from 1."""
        with blame(f"solver {self.name!r}"):
            if isinstance(found := self.count(steps), int) and found > 0:
                return found
            raise UserError(f"solver {self.name!r} declares {found!r} evaluations for {steps} steps")

    def __call__(self, formulation: Formulation, times: Tensor) -> Steps:
        """The table in float64. Raises :class:`UserError` for one that breaks the contract, naming the line of the file."""
        with blame(f"solver {self.name!r}"):
            made = self.table(formulation, times)
            if (wrong := flaw(made, times, self.evaluations(len(times)))) is not None:
                raise UserError(
                    f"solver {self.name!r}: {wrong}, of {len(times)} steps of {formulation.name!r}"
                )
        fresh = None if made.fresh is None else made.fresh.double()
        return Steps(made.times.double(), made.image.double(), made.noise.double(), fresh)


def flaw(made: object, times: Tensor, evaluations: int) -> str | None:
    """What is wrong with the table that a solver made for ``times`` and declares to take so many evaluations."""
    if not isinstance(made, Steps):
        return f"it returned {type(made).__name__}, not Steps"
    count = (evaluations,)
    if made.times.shape != count:
        return f"times has shape {list(made.times.shape)}, and {evaluations} evaluations are declared"
    if made.image.shape[:-1] != count or made.image.shape != made.noise.shape or not made.image.shape[-1]:
        shapes = f"{list(made.image.shape)} and {list(made.noise.shape)}"
        return f"image and noise have shapes {shapes}, not both [{evaluations}, K]"
    if made.fresh is not None and (made.fresh.shape != count or bool((made.fresh < 0).any())):
        return f"fresh must have shape [{evaluations}], and no negative value"
    parts = (made.times, made.image, made.noise, *(() if made.fresh is None else (made.fresh,)))
    if not all(bool(part.isfinite().all()) for part in parts):
        return "the table is not finite"
    first, last = float(times[0]), float(times[-1])
    inside = (made.times <= first) & ((made.times > 0) | (made.times >= last))  # LDM's path ends below 0
    if float(made.times[0]) != first or not bool(inside.all()):
        return f"times must begin at {first:g}, where the grid does, and lie between that and 0"
    for part in (made.image, made.noise):
        if bool(part.triu(1).any()):
            return "a state depends on evaluations before the first"
    return None


registry: Registry[Solver] = Registry("solver")


def register(
    name: str, *, order: int, evaluations: Callable[[int], int] = one_a_step, least: int = 1
) -> Callable[[Table], Table]:
    """Decorator that adds a solver: ``@register("mine", order=2)`` on a function ``(formulation, times) -> Steps``.

    Args:
        name: lower-case letters, digits, ``_`` and ``+``.
        order: p, if the error falls like (1 / steps)^p.
        evaluations: number of steps -> evaluations of the network, by default one a step.
        least: fewest steps with which it is no simpler method on any path: 2 for Adams-Bashforth of two steps; 4 for a
            method of two steps in log-SNR, whose steps from pure noise, after it and to data are of one.

    Raises:
        UserError: a malformed name, or one that exists.
    """
    if not PLAIN.fullmatch(name):
        raise UserError(
            f"cannot register the solver {name!r}: its name must be lower-case letters, digits, _ and +, "
            f"and begin with a letter"
        )

    def decorate(table: Table) -> Table:
        def made() -> Solver:
            return Solver(name, order, table, evaluations, least)

        made.__doc__ = table.__doc__
        registry.register(name)(made)
        return table

    return decorate


def get(name: str) -> Solver:
    """The solver of that name. Raises :class:`UserError` with the nearest names."""
    return registry[name].function()


def texts(names: Iterable[str]) -> dict[str, str]:
    """sha256 of the file behind each of these solvers that is not flowbench's own, by name: what another text drew is not
    reused."""
    found = {}
    for name in names:
        table = get(name).table
        if not table.__module__.startswith(f"{__package__}."):
            behind = text_behind(name, ("solver",))  # None for an installed package's
            found[name] = behind or hashlib.sha256(Path(inspect.getfile(table)).read_bytes()).hexdigest()
    return found


def follow(
    steps: Course,
    x: Tensor,
    decoded: Callable[[int, Tensor], tuple[Tensor, Tensor]],
    noise: Callable[[int], Tensor],
) -> Tensor:
    """The last state of a table from the first state x ``[..., *S]``; ``decoded(i, x_i)`` gives ``(x^_i, n^_i)``, and
    ``noise(i)`` the z_i of a table with fresh noise, of the shape of x."""
    newest: list[tuple[Tensor, Tensor]] = []
    for i in range(steps.image.shape[-2]):
        newest = [decoded(i, x), *newest[: steps.image.shape[-1] - 1]]
        x = reduce(
            operator.add,
            (
                _spread(steps.image[..., i, j], x) * clean + _spread(steps.noise[..., i, j], x) * direction
                for j, (clean, direction) in enumerate(newest)
            ),
        )
        if steps.fresh is not None:
            x = x + _spread(steps.fresh[..., i], x) * noise(i)
    return x


def _spread(factor: Tensor, x: Tensor) -> Tensor:
    """A factor with as many axes as x."""
    return factor.reshape(*factor.shape, *[1] * (x.ndim - factor.ndim))
