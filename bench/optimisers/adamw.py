"""AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101): the study's optimiser, and the usual one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.config.experiment import Training
from bench.optimisers.optimiser import Method, register
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.models.flat import Flat
else:
    torch = lazy("torch")


class AdamW:
    """One AdamW of torch, fused, over a matrix ``weights [E, P]`` with ``grads [E, P]``: its update is elementwise.

    ``m <- b1 m + (1 - b1) g``, ``v <- b2 v + (1 - b2) g^2``, ``w <- (1 - lr decay) w - lr m^ / (sqrt(v^) + 1e-8)``.
    """

    def __init__(self, weights: Tensor, grads: Tensor, recipe: Training) -> None:
        leaf = torch.nn.Parameter(weights)
        leaf.grad = grads
        self.torch = torch.optim.AdamW(
            [leaf],
            lr=recipe.lr,
            betas=(recipe.betas[0], recipe.betas[1]),
            weight_decay=recipe.weight_decay,
            fused=True,
            capturable=weights.device.type == "cuda",
        )
        # as its first step would make it, but there from the beginning: a checkpoint is copied into it
        self.moments = {name: torch.zeros_like(weights) for name in ("exp_avg", "exp_avg_sq")}
        self.steps = torch.zeros((), device=weights.device)
        self.torch.state[leaf] = {"step": self.steps, **self.moments}

    def step(self, lr: float | Tensor) -> None:
        """One update in place."""
        self.torch.param_groups[0]["lr"] = lr
        self.torch.step()

    def state(self) -> dict[str, Tensor]:
        """The two moments ``[E, P]``."""
        return self.moments

    def resume(self, step: int) -> None:
        """Continue after so many steps: the correction of the moments counts them."""
        self.steps.fill_(step)


def of_all(flat: Flat, recipe: Training) -> AdamW:
    """AdamW of every parameter."""
    return AdamW(flat.weights, flat.grads, recipe)


@register("adamw")
def adamw() -> Method:
    """AdamW of every parameter: --betas are the decay of its two moments, --weight-decay is decoupled."""
    return Method(of_all, copies=2, uses=("betas", "weight_decay"), elementwise=True)
