"""All parameters of a pack as one matrix ``[E, P]``: one row a member.

The optimiser, the gradient norms, the EMA and the checkpoints then are one operation each, and a member is a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


class Flat:
    """``weights [E, P]`` that the model's parameters are views of, and ``grads [E, P]`` that collects their gradients."""

    def __init__(self, model: nn.Module) -> None:
        named = list(model.named_parameters())
        members = named[0][1].shape[0]
        self.names = tuple(name for name, _ in named)
        self.shapes = tuple(tuple(p.shape[1:]) for _, p in named)
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.weights = torch.cat([p.detach().reshape(members, -1) for _, p in named], dim=1)
        self.grads = torch.zeros_like(self.weights)
        self.parameters = [p for _, p in named]
        for p, w in zip(self.parameters, self.views(self.weights), strict=True):
            p.data = w

    def collect(self) -> Tensor:
        """Move the gradients of the last backward pass into ``grads``, and return it."""
        parts = [p.grad.flatten(1) for p in self.parameters if p.grad is not None]
        torch.cat(parts, dim=1, out=self.grads)
        for p in self.parameters:
            p.grad = None
        return self.grads

    def views(self, matrix: Tensor) -> list[Tensor]:
        """The columns of ``matrix [E, P]`` as tensors shaped like the parameters."""
        parts = matrix.split(self.sizes, dim=1)
        return [
            part.unflatten(1, shape) if shape else part
            for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def matrices(self, of: Tensor) -> dict[str, Tensor]:
        """Views ``[E, rows, columns]`` into ``of [E, P]`` by the names of the matrices that map hidden features to hidden
        features: the parameters of blocks with more than one row and column; a kernel's columns are all that it reads."""
        return {name: part.flatten(2) for name, part in self.named(of).items() if hidden(name, part)}

    def others(self, of: Tensor) -> dict[str, Tensor]:
        """Views ``[E, ...]`` into ``of [E, P]`` of all other parameters: embeddings, biases, norms, output."""
        return {name: part for name, part in self.named(of).items() if not hidden(name, part)}

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
