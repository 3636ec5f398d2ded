"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): momentum, made orthogonal matrix by matrix.

It moves the matrices of the blocks; embeddings, biases, norms, modulation and output are AdamW's. An update is scaled by
``0.2 sqrt(max(rows, columns))`` (Liu et al. 2025, arXiv 2502.16982), the usual size of AdamW's, so that one learning rate
and one weight decay serve both.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from bench.config.experiment import Training
from bench.optimisers.adamw import AdamW
from bench.optimisers.optimiser import Method, register
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.models.flat import Flat
else:
    torch = lazy("torch")

STEPS = 5
A, B, C = 3.4445, -4.7750, 2.0315
"""Of the iteration ``s <- A s + B s^3 + C s^5`` of singular values: steepest at 0, and near 1 after a few steps."""
SIZE = 0.2
"""Root mean square of an update's entries, in units of the learning rate; AdamW's are as large."""


def orthogonalised(x: Tensor) -> Tensor:
    """``U V^T`` of ``x = U S V^T``, about, for matrices ``[..., rows, columns]``: singular values within 0.7 and 1.2.

    Newton-Schulz iteration ``x <- A x + (B x x^T + C (x x^T)^2) x``, in float32.
    """
    x = x.float()
    wide = x if x.shape[-2] <= x.shape[-1] else x.mT
    flat = wide.flatten(0, -3)
    flat = flat / (flat.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = torch.bmm(flat, flat.mT)
        flat = torch.baddbmm(flat, torch.baddbmm(square, square, square, beta=B, alpha=C), flat, beta=A)
    wide = flat.view_as(wide)
    return wide if x.shape[-2] <= x.shape[-1] else wide.mT


class Alike:
    """Matrices of one size: ``weights`` and ``grads`` are views ``[E, rows, columns]``, ``momentum`` is ``[E, K, rows,
    columns]`` of all ``K`` of them."""

    def __init__(self, weights: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        self.weights, self.grads = weights, grads
        self.momentum = torch.zeros_like(torch.stack(tuple(weights), dim=1))
        self.size = SIZE * max(weights[0].shape[1:]) ** 0.5

    def step(self, lr: float | Tensor, momentum: float, decay: float) -> None:
        """Nesterov's momentum, orthogonalised, and decoupled weight decay."""
        grads = torch.stack(tuple(self.grads), dim=1)
        self.momentum.lerp_(grads, 1 - momentum)
        updates = orthogonalised(grads.lerp_(self.momentum, momentum)).mul_(lr * self.size)
        for weights, update in zip(self.weights, updates.unbind(1), strict=True):
            weights.mul_(1 - lr * decay).sub_(update)


class Muon:
    """Muon of the matrices of all members, and AdamW of the rest, gathered into one matrix ``[E, R]``."""

    def __init__(self, flat: Flat, recipe: Training, momentum: float) -> None:
        self.momentum, self.decay = momentum, recipe.weight_decay
        weights, grads = flat.matrices(flat.weights), flat.matrices(flat.grads)
        sizes = {
            tuple(w.shape[1:]): [n for n, v in weights.items() if v.shape == w.shape]
            for w in weights.values()
        }
        self.groups = {
            f"momentum.{rows}x{columns}": Alike([weights[n] for n in names], [grads[n] for n in names])
            for (rows, columns), names in sizes.items()
        }
        self.weights, self.grads = (list(flat.others(of).values()) for of in (flat.weights, flat.grads))
        self.gathered = torch.cat([w.flatten(1) for w in self.weights], dim=1)
        self.views = [
            part.view_as(w)
            for part, w in zip(
                self.gathered.split([w[0].numel() for w in self.weights], dim=1), self.weights, strict=True
            )
        ]
        self.gathered_grads = torch.zeros_like(self.gathered)
        self.adamw = AdamW(self.gathered, self.gathered_grads, recipe)

    def step(self, lr: float | Tensor) -> None:
        """One update in place."""
        for group in self.groups.values():
            group.step(lr, self.momentum, self.decay)
        torch.cat([w.flatten(1) for w in self.weights], dim=1, out=self.gathered)
        torch.cat([g.flatten(1) for g in self.grads], dim=1, out=self.gathered_grads)
        self.adamw.step(lr)
        torch._foreach_copy_(self.weights, self.views)

    def state(self) -> dict[str, Tensor]:
        """The momentum of matrices by their size ``[E, K, rows, columns]``, and AdamW's moments ``[E, R]``."""
        return {name: group.momentum for name, group in self.groups.items()} | self.adamw.state()

    def resume(self, step: int) -> None:
        """Continue after so many steps."""
        self.adamw.resume(step)


@register("muon(momentum)")
def muon(momentum: float = 0.95) -> Method:
    """Muon of the matrices in blocks, AdamW of all else: --betas are AdamW's, --weight-decay is both's."""
    if not 0 <= momentum < 1:
        raise UserError(f"muon's momentum {momentum:g} must be in [0, 1), the usual one is 0.95")
    return Method(partial(Muon, momentum=momentum), copies=2, uses=("betas", "weight_decay"))
