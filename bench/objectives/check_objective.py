"""The conformance check that an objective must pass before it trains: two small networks on a batch of random images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import formulations
from bench.machine.host_sync import no_waiting
from bench.objectives.objective import FROZEN, Batch, Objective, Predict, State, undeclared
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame
from formulations import Coeffs

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

NAMES = ("rf/lognorm(0.00,1.00)", "eps/linear")
"""The formulations of the members."""
SAMPLES, STEPS, RATE = 6, 40, 0.03
NEAR = 1e-5
"""How far a member in a pack may be from the same member alone."""


class Toy:
    """Members whose output is ``u x_t + v clock + w mean(pooled) + z``, with the parameters ``[E, 4]`` u, v, w, z."""

    def __init__(self, objective: Objective, members: Sequence[int] = (0, 1)) -> None:
        draw = torch.Generator().manual_seed(0)
        self.objective, chosen = objective, list(members)
        sizes = ((3, 8, 8), (3, 8, 8), (5, 4), (7,))
        self.batch = Batch(*(torch.randn(SAMPLES, *size, generator=draw) for size in sizes))
        self.weights, start, ema = torch.randn(3, len(NAMES), 4, generator=draw)[:, chosen]
        times = torch.rand(SAMPLES, generator=draw, dtype=torch.float64)
        tables = [f.coeffs(f.times(times)) for f in (formulations.get(NAMES[e]) for e in chosen)]
        self.c = Coeffs(*(torch.stack(parts).float() for parts in zip(*tables, strict=True)))
        frozen = dict(zip(FROZEN, (start, ema), strict=True))
        self.frozen = [
            torch.no_grad()(network(frozen[word])) if word in objective.frozen else undeclared(word)
            for word in FROZEN
        ]
        self.weights.requires_grad_()

    def loss(self, step: int | Tensor = 3) -> Tensor:
        """Of each sample ``[E, B]``."""
        return self.objective.loss(network(self.weights), self.batch, self.c, State(step, *self.frozen))

    def validation_loss(self) -> Tensor:
        """The same by way of the known output."""
        predict, batch = network(self.weights), self.batch
        x_t = formulations.mix(batch.x, batch.noise, self.c)
        out = predict(x_t, self.c, batch.tokens, batch.pooled)
        return self.objective.validation_loss(out, predict, batch, self.c, State(3, *self.frozen))


def network(weights: Tensor) -> Predict:
    """The members' output."""

    def predict(x_t: Tensor, c: Coeffs, tokens: Tensor, pooled: Tensor) -> Tensor:
        scale, clock, caption, shift = (part[:, None] for part in weights.unbind(1))
        added = clock * c.c_noise + caption * pooled.mean(1) + shift
        return (scale * c.c_in)[..., None, None, None] * x_t + added[..., None, None, None]

    return predict


def check(objective: Objective) -> list[str]:
    """Run every check; returns one line per passed check.

    Checked on two members: a finite loss of each sample; the same in every call, for a member alone as in a pack, in a part
    of the batch unless it is ``coupled``, and for held-out samples; a gradient for each member; the loss falls along it;
    nothing waits for the device.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin's functions name file and line.
    """
    with blame(f"objective {objective.name!r}"):
        return [part(objective) for part in (_shape, _same, _members, _samples, _falls, _waits)]


def _fail(objective: Objective, what: str) -> UserError:
    return UserError(f"objective {objective.name!r} fails its check: {what}")


def _shape(objective: Objective) -> str:
    losses, wanted = Toy(objective).loss(), (len(NAMES), SAMPLES)
    if losses.shape != wanted or not bool(losses.isfinite().all()):
        raise _fail(objective, f"its loss is {list(losses.shape)} or not finite, not {list(wanted)}")
    return "loss: finite, of each sample"


def _same(objective: Objective) -> str:
    toy = Toy(objective)
    losses = toy.loss()
    if not torch.equal(losses, toy.loss()):
        raise _fail(objective, "its loss differs from call to call: draw nothing, keep nothing")
    if not torch.allclose(losses, toy.validation_loss(), rtol=NEAR, atol=NEAR):
        raise _fail(objective, "its validation_loss differs from its loss")
    return "loss: the same in every call, and for held-out samples"


def _members(objective: Objective) -> str:
    together = Toy(objective).loss().detach()
    for member in range(len(NAMES)):
        gap = float((Toy(objective, [member]).loss().detach()[0] - together[member]).abs().max())
        if gap > NEAR * (1 + float(together[member].abs().max())):
            raise _fail(
                objective, f"member {member} in a pack differs by {gap:.1e} from the same member alone"
            )
    return "members: in a pack as alone"


def _samples(objective: Objective) -> str:
    toy, half = Toy(objective), SAMPLES // 2
    if objective.coupled:
        return "samples: coupled, so that no batch is split"
    whole = toy.loss().detach()[:, :half]
    toy.batch, toy.c = Batch(*(v[:half] for v in toy.batch)), Coeffs(*(v[:, :half] for v in toy.c))
    if not torch.allclose(whole, toy.loss(), rtol=NEAR, atol=NEAR):
        raise _fail(
            objective, "the loss of a sample depends on the others of its batch: declare coupled = True"
        )
    return "samples: in a part of a batch as in the whole"


def _falls(objective: Objective) -> str:
    toy = Toy(objective)
    before, descent = toy.loss().mean(1).detach(), torch.optim.Adam([toy.weights], RATE)
    for _ in range(STEPS):
        descent.zero_grad()
        loss = toy.loss().mean(1).sum()
        if not loss.requires_grad:
            raise _fail(objective, "its loss does not depend on the network")
        loss.backward()
        descent.step()
    after = toy.loss().mean(1).detach()
    if not bool(after.isfinite().all()) or bool((after >= before).any()):
        e = int((after - before).nan_to_num(nan=float("inf")).argmax())
        raise _fail(objective, f"the loss of member {e} went from {before[e]:.3g} to {after[e]:.3g}")
    return f"loss: falls by {STEPS} steps along its gradient"


def _waits(objective: Objective) -> str:
    toy = Toy(objective)
    with no_waiting(partial(_fail, objective)):
        toy.loss(torch.tensor(3)).sum().backward()
    return "step: may be a tensor, the device is not waited for"


def probe(objective: Objective) -> list[list[float]]:
    """The losses of the check ``[E, B]``: shows a plugin that was edited under an old name."""
    return [[float(f"{value:.6g}") for value in row] for row in Toy(objective).loss().tolist()]
