"""The validation loss of a network before its first step, with which that of a trained one is compared."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.objectives import Batch
from bench.training.coefficients import validation_coefficients
from formulations import Coeffs, Formulation, common, loss


def untrained_losses(formulations: Sequence[Formulation], validation: tuple[Batch, Tensor]) -> list[float]:
    """The common validation loss of each formulation's network at step 0, without running it.

    The head of the network starts at zero (:mod:`bench.models.networks.transformer`), so its output is zero everywhere.
    """
    batch, levels = validation
    table = common(validation_coefficients(formulations, levels, batch.x.device))
    members = (Coeffs(*(part[e] for part in table)) for e in range(len(formulations)))
    return [float(loss(torch.zeros_like(batch.x), batch.x, batch.noise, c).mean()) for c in members]
