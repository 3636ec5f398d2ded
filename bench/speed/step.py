"""``step``: a whole training step of our MM-DiT with one member against the same step of its peers.

A step is forward, backward, the norm of gradients (the peers': clipping), AdamW and EMA, on one batch that lies on the
device, at equal width, depth, heads, tokens, batch and precision; eager against eager, compiled against compiled. The
peers are trained as one trains well: clipping and EMA by ``foreach``, AdamW fused, gradients set to None. On a CPU ours
multiplies as the harness does (:mod:`bench.machine.products`); the peers do so too, and in another line as torch
does by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bench.machine.products import autocast, default_products
from bench.speed.options import Plan
from bench.speed.peers import PEERS, parameters
from bench.speed.sizes import Size, inputs
from bench.speed.timing import Row, pair, release
from bench.training.train import Trainer

EMA = 1e-3
"""Share of the weights that a peer's EMA takes over in a step."""


def rows(plan: Plan) -> Iterator[Row]:
    """Our step against each peer's, at each size, eager and compiled."""
    for size in plan.fitting("step"):
        for compiled in (False, True) if plan.compiled else (False,):
            ours, count = our_step(size, 1, plan.device, compiled), size.shape.parameters()
            for peer in PEERS:
                torch.manual_seed(0)
                model = peer.build(size.shape)
                theirs = peer_step(model, size, plan.device, compiled)
                what = f"{size}, {'compiled' if compiled else 'eager'}"
                note = f"parameters {count:,} and {parameters(model):,}"
                timed = pair(ours, theirs, plan.turns("step"), calls=plan.calls)
                yield timed.row("step", what, peer.name, note)
                if torch.get_float32_matmul_precision() != "highest":
                    timed = pair(ours, default_products()(theirs), plan.turns("step"), calls=plan.calls)
                    yield timed.row("step", what, f"{peer.name}, torch's own products", note)
                del model, theirs
            del ours
            release()


def our_step(size: Size, members: int, device: torch.device, compiled: bool = False) -> Callable[[], None]:
    """A whole training step of our model."""
    trainer = Trainer(size.shape, members, size.recipe(), device, compiled=compiled)
    batch, coeffs = inputs(size, members, device)
    index = 0

    def step() -> None:
        nonlocal index
        trainer.step(index % trainer.recipe.steps, batch, coeffs)
        index += 1

    return step


def peer_step(
    model: nn.Module, size: Size, device: torch.device, compiled: bool = False
) -> Callable[[], None]:
    """A whole training step of a peer's model on the same batch: rectified flow, mean squared error of the velocity."""
    recipe = size.recipe()
    mode = "reduce-overhead" if device.type == "cuda" else "default"  # on a GPU with CUDA graphs, as ours
    network = torch.compile(model.to(device), dynamic=False, mode=mode) if compiled else model.to(device)
    weights: list[Tensor] = list(model.parameters())
    optimiser = torch.optim.AdamW(weights, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    ema = [w.detach().clone() for w in weights]
    batch, coeffs = inputs(size, 1, device)
    t = coeffs.b[0]

    def step() -> None:
        mixed = torch.lerp(batch.x, batch.noise, t[:, None, None, None])
        with autocast(recipe.precision, device):
            out = network(mixed, t, batch.tokens, batch.pooled)
        nn.functional.mse_loss(out.float(), batch.noise - batch.x).backward()
        nn.utils.clip_grad_norm_(weights, 1.0, foreach=True)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(ema, weights, EMA)

    return step
