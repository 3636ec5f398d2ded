"""What attention does while training: the probes of figure 5 of arXiv 2403.03206, at every validation.

Without normalised queries and keys logits may grow until attention looks at single tokens, and the training diverges. The
probes are of the weights that train, as it is these that become unstable, and come from forward passes of their own: no step
depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench.models.network import Network
from bench.objectives import Batch
from bench.training.batches import chunk
from bench.training.coefficients import predict
from bench.training.members import finite
from formulations import Coeffs, mix


@torch.no_grad()
def probed(
    model: Network, batch: Batch, c: Coeffs, precision: str
) -> Iterator[dict[str, list[float | None]]]:
    """Of each member ``attention_logit``, the largest of each block over a batch, and ``attention_entropy``, the mean over
    queries, heads and samples, in nats; None where it is not finite. ``c`` is ``[E, B]``."""
    logits, entropies = [], []
    for rows in torch.arange(len(batch.x), device=batch.x.device).split(chunk(batch.x.device, model.members)):
        part, k = Batch(*(v[rows] for v in batch)), Coeffs(*(v[:, rows] for v in c))
        x_t = mix(part.x, part.noise, k)
        logit, entropy = predict(model.probe, x_t, k, part.tokens, part.pooled, precision).unbind(-1)
        logits.append(logit)
        entropies.append(entropy * (len(rows) / len(batch.x)))
    largest, mean = torch.stack(logits).amax(0), torch.stack(entropies).sum(0)
    for of_blocks, spread in zip(largest.tolist(), mean.tolist(), strict=True):
        yield {
            "attention_logit": list(map(finite, of_blocks)),
            "attention_entropy": list(map(finite, spread)),
        }
