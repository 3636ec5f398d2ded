"""Flow matching with the formulation's own path, target and weight (arXiv 2403.03206, Eq. 4): the usual objective."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.objectives.objective import Batch, Objective, Predict, State, register
from formulations import Coeffs, loss, mix

if TYPE_CHECKING:
    from torch import Tensor


class Flow(Objective):
    """``w mean((net - (p x + q n))^2)`` at ``x_t = a x + b n``, the mean over channels and pixels."""

    def loss(self, network: Predict, batch: Batch, c: Coeffs, state: State) -> Tensor:
        out = network(mix(batch.x, batch.noise, c), c, batch.tokens, batch.pooled)
        return loss(out, batch.x, batch.noise, c)

    def validation_loss(self, out: Tensor, network: Predict, batch: Batch, c: Coeffs, state: State) -> Tensor:
        return loss(out, batch.x, batch.noise, c)


@register("flow")
def flow() -> Flow:
    """The loss of the formulation: flow matching with its path, target and weight."""
    return Flow()
