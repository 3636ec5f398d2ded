"""All parameters of a pack as one matrix ``[E, P]``: one row a member.

The optimiser, the gradient norms, the EMA and the checkpoints then are one operation each, and a member is a row. Where
replicas divide the parameters, P are those of a part (:mod:`bench.training.divided_flat`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from bench.models.part import Part, Shape


class Layout:
    """Where parameters lie in the columns of a matrix ``[E, P]``, by ``names``; ``shapes`` are without the member axis."""

    def __init__(self, names: Sequence[str], shapes: Sequence[Shape]) -> None:
        self.names, self.shapes = tuple(names), tuple(shapes)
        self.sizes = [math.prod(shape) for shape in self.shapes]

    def views(self, matrix: Tensor) -> list[Tensor]:
        """The columns of ``matrix [E, P]`` as tensors shaped like the parameters."""
        parts = matrix.split(self.sizes, dim=1)
        return [
            part.unflatten(1, shape) if shape else part
            for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def named(self, of: Tensor) -> dict[str, Tensor]:
        """The columns of ``of [E, P]`` as tensors shaped like the parameters, by their names."""
        return dict(zip(self.names, self.views(of), strict=True))

    def member(self, row: Tensor) -> dict[str, Tensor]:
        """One member's row ``[P]`` as named parameters, without the member axis."""
        views = self.views(row[None])
        return {name: view[0].contiguous() for name, view in zip(self.names, views, strict=True)}

    def row(self, named: Mapping[str, Tensor]) -> Tensor:
        """The row ``[P]`` of named parameters: the inverse of :meth:`member`."""
        return torch.cat([named[name].reshape(-1) for name in self.names])


class Flat(Layout):
    """``weights [E, P]`` that the model's parameters are views of, and ``grads [E, P]`` that collects their gradients."""

    part = Part()
    """The part of every parameter that is here."""

    def __init__(self, model: nn.Module) -> None:
        named = dict(model.named_parameters())
        parts = [self.own(p.detach()) for p in named.values()]
        super().__init__(tuple(named), [tuple(part.shape[1:]) for part in parts])
        self.weights = torch.cat([part.flatten(1) for part in parts], dim=1)
        self.grads = torch.zeros_like(self.weights)
        self.parameters = self.placed(model, self.named(self.weights))

    @property
    def whole(self) -> Layout:
        """The layout of rows with all parameters, as :meth:`gathered` gives them."""
        return self

    def own(self, of: Tensor) -> Tensor:
        """What is here of a parameter, or of its gradient, ``[E, ...]``."""
        return of

    def placed(self, model: nn.Module, views: Mapping[str, Tensor]) -> list[nn.Parameter]:
        """The model's parameters, once they are these views."""
        parameters = dict(model.named_parameters())
        for name, view in views.items():
            parameters[name].data = view
        return list(parameters.values())

    def gathered(self, matrix: Tensor) -> Tensor:
        """``matrix [E, P]`` with all parameters."""
        return matrix

    def collect(self) -> Tensor:
        """Move the gradients of the last backward pass into ``grads``, and return it."""
        parts = [self.own(p.grad).flatten(1) for p in self.parameters if p.grad is not None]
        torch.cat(parts, dim=1, out=self.grads)
        for p in self.parameters:
            p.grad = None
        return self.grads

    def matrices(self, of: Tensor) -> dict[str, Tensor]:
        """Views ``[E, rows, columns]`` into ``of [E, P]`` by the names of the matrices that map hidden features to hidden
        features: the parameters of blocks with more than one row and column; a kernel's columns are all that it reads."""
        return {name: part.flatten(2) for name, part in self.named(of).items() if hidden(name, part)}

    def others(self, of: Tensor) -> dict[str, Tensor]:
        """Views ``[E, ...]`` into ``of [E, P]`` of all other parameters: embeddings, biases, norms, output."""
        return {name: part for name, part in self.named(of).items() if not hidden(name, part)}


def hidden(name: str, parameter: Tensor) -> bool:
    """Whether a parameter ``[E, ...]`` is a matrix of a block, rather than a vector or outside of the blocks."""
    matrix = parameter.ndim > 2 and parameter.shape[1] > 1 and math.prod(parameter.shape[2:]) > 1
    return matrix and "blocks" in name.split(".")


class swapped(AbstractContextManager[None]):
    """Run the model with other weights ``[E, P]``: they are copied in, and the old ones back afterwards."""

    def __init__(self, flat: Flat, weights: Tensor) -> None:
        self.flat, self.weights = flat, weights

    def __enter__(self) -> None:
        self.kept = self.flat.weights.clone()
        self.flat.weights.copy_(self.weights)

    def __exit__(self, *raised: object) -> None:
        self.flat.weights.copy_(self.kept)
