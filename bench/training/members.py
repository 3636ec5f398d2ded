"""What training tracks of each member of a pack, as tensors on the device so that no step waits for it."""

from __future__ import annotations

import torch
from torch import Tensor


class Health:
    """Which members still train. One whose loss or gradient norm is not finite is out from then on; its row may be NaN."""

    def __init__(self, members: int, device: torch.device) -> None:
        self.alive = torch.ones(members, dtype=torch.bool, device=device)
        self.died = torch.full((members,), -1, dtype=torch.long, device=device)
        self.total = torch.zeros(members, device=device)
        self.count = torch.zeros(members, device=device)

    def observe(self, step: int | Tensor, losses: Tensor, norms: Tensor) -> None:
        """Take note of a step's losses and gradient norms, both ``[E]``. Writes in place, as a CUDA graph needs."""
        fine = self.alive & losses.isfinite() & norms.isfinite()
        self.died.copy_(torch.where(self.alive & ~fine, step, self.died))
        self.alive.copy_(fine)
        self.total += torch.where(fine, losses, 0.0)
        self.count += fine

    def mean_loss(self) -> Tensor:
        """Mean training loss ``[E]`` of living members since the last call; NaN for those that had no step."""
        mean = self.total / self.count
        self.total.zero_()
        self.count.zero_()
        return mean

    def diverged_at(self) -> list[int | None]:
        """The step at which each member went out, or None."""
        return [None if step < 0 else step for step in self.died.tolist()]


class Best:
    """The EMA and raw weights ``[E, P]`` of each member's smallest EMA validation loss (arXiv 2403.03206, appendix B.3).

    Chosen by the member's own loss, which is what it minimises; ``common`` is the common loss at that step.
    """

    def __init__(self, weights: Tensor) -> None:
        members = weights.shape[0]
        self.ema, self.raw = weights.clone(), weights.clone()
        self.loss = torch.full((members,), float("inf"), device=weights.device)
        self.common = self.loss.clone()
        self.step = torch.zeros(members, dtype=torch.long, device=weights.device)

    def offer(
        self, step: int, native: Tensor, common: Tensor, ema: Tensor, raw: Tensor, alive: Tensor
    ) -> None:
        """Keep the weights of the members whose ``native`` loss ``[E]`` is the smallest so far."""
        better = alive & (native < self.loss) & common.isfinite()
        self.loss = torch.where(better, native, self.loss)
        self.common = torch.where(better, common, self.common)
        self.step = torch.where(better, step, self.step)
        self.ema = torch.where(better[:, None], ema, self.ema)
        self.raw = torch.where(better[:, None], raw, self.raw)


def finite(value: float) -> float | None:
    """The value, or None if it is NaN or infinite."""
    return value if abs(value) < float("inf") else None
