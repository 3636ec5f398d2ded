"""The conformance check that an optimiser must pass before it trains: on a quadratic whose every number is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.config.experiment import Training
from bench.machine.host_sync import no_waiting
from bench.optimisers.optimiser import Method, Optimiser
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.models.flat import Flat
else:
    torch = lazy("torch")

MEMBERS, STEPS, RATE = 2, 30, 0.05
NEAR = 1e-5
"""How far a member in a pack may be from the same member alone, and a rate as a tensor from the same number."""
TAKEN = ("weights", "ema", "health.", "best.")
"""Names in a checkpoint, or how they begin, that are not the optimiser's."""


class Quadratic:
    """``loss[e] = sum_i c_i (w[e, i] - z[e, i])^2 / 2`` of a small model of ``members``: a layer before its blocks, one in
    them, and one behind them, each with a bias."""

    def __init__(
        self, members: Sequence[int], method: Method, recipe: Training, columns: slice = slice(None)
    ) -> None:
        from bench.models.flat import Flat  # imports torch

        self.flat: Flat = Flat(small_model(len(members)))
        count = self.flat.weights.shape[1]
        drawn = [torch.randn(2, count, generator=torch.Generator().manual_seed(seed)) for seed in members]
        start, self.target = torch.stack(drawn, dim=1)
        self.flat.weights.copy_(start)
        self.curvature, self.target = torch.linspace(0.5, 2, count)[columns], self.target[:, columns]
        if columns != slice(None):
            self.flat.weights, self.flat.grads = (
                whole[:, columns].contiguous() for whole in (self.flat.weights, self.flat.grads)
            )
        self.optimiser: Optimiser = method.make(self.flat, recipe)

    def advance(self, steps: int, lr: float | Tensor = RATE) -> Quadratic:
        """Take so many steps."""
        for _ in range(steps):
            self.flat.grads.copy_(self.curvature * (self.flat.weights - self.target))
            self.optimiser.step(lr)
        return self

    def loss(self) -> Tensor:
        """Of each member, ``[E]``."""
        losses: Tensor = (self.curvature * (self.flat.weights - self.target).square()).sum(1) / 2
        return losses

    def everything(self) -> dict[str, Tensor]:
        """What a step leaves to the next one."""
        return {"weights": self.flat.weights, **self.optimiser.state()}


def small_model(members: int) -> Any:
    """Linear layers 3 -> 4, then 4 -> 6 and 6 -> 4 in a block, then 4 -> 2."""
    from bench.models.networks.layers import Linear  # imports torch

    made = torch.nn.Module()
    made.first = Linear(members, 3, 4)
    made.blocks = torch.nn.ModuleList([Linear(members, 4, 6), Linear(members, 6, 4)])
    made.last = Linear(members, 4, 2)
    return made


def check(method: Method) -> list[str]:
    """Run every check; returns one line per passed check.

    Checked on a quadratic of two members: the loss of each falls and stays finite; state has the member axis first, and
    stays where it is, as the weights do; a member in a pack is the same member alone; some columns are the same without
    the others, if it is ``elementwise``; an optimiser with the state of another continues as that one; a learning rate may
    be a tensor, and no step waits for the device.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin's functions name file
            and line.
    """
    with blame(f"optimiser {method.name!r}"):
        return [part(method) for part in (_falls, _shapes, _members, _columns, _round_trip, _tensors)]


def _fail(method: Method, what: str) -> UserError:
    return UserError(f"optimiser {method.name!r} fails its check: {what}")


def _made(method: Method, members: Sequence[int] = range(MEMBERS), columns: slice = slice(None)) -> Quadratic:
    return Quadratic(members, method, Training(optimiser=method.name), columns)


def _falls(method: Method) -> str:
    tried = _made(method)
    before = tried.loss()
    after = tried.advance(STEPS).loss()
    if not all(bool(value.isfinite().all()) for value in tried.everything().values()):
        raise _fail(method, f"weights or state are not finite after {STEPS} steps on a quadratic")
    if bool((after >= before).any()):
        e = int((after - before).argmax())
        raise _fail(
            method, f"the loss of member {e} went from {before[e]:.3g} to {after[e]:.3g} on a quadratic"
        )
    return f"loss: falls by {STEPS} steps on a quadratic, all finite"


def _shapes(method: Method) -> str:
    tried = _made(method)
    before = {name: value.data_ptr() for name, value in tried.everything().items()}
    for name, value in tried.optimiser.state().items():
        if name.startswith(TAKEN):
            raise _fail(method, f"its state has the name {name!r}, which is taken in a checkpoint")
        if value.shape[:1] != (MEMBERS,):
            raise _fail(
                method,
                f"its state {name!r} of shape {list(value.shape)} must begin with the {MEMBERS} members",
            )
    after = {name: value.data_ptr() for name, value in tried.advance(2).everything().items()}
    if moved := [name for name in before if before[name] != after.get(name)] or list(after.keys() - before):
        raise _fail(method, f"{moved[0]!r} is a new tensor after a step: change tensors in place")
    return "state: the member axis first, changed in place"


def _members(method: Method) -> str:
    together = _made(method).advance(5).flat.weights
    for member in range(MEMBERS):
        alone = _made(method, [member]).advance(5).flat.weights
        if (gap := float((alone[0] - together[member]).abs().max())) > NEAR:
            raise _fail(method, f"member {member} in a pack differs by {gap:.1e} from the same member alone")
    return "members: in a pack as alone"


def _columns(method: Method) -> str:
    if not method.elementwise:
        return "columns: together"
    some = slice(1, None, 2)
    whole, part = _made(method).advance(5), _made(method, columns=some).advance(5)
    for name, value in whole.everything().items():
        wanted = value[:, some] if value.shape == whole.flat.weights.shape else value
        found = part.everything()[name]
        if found.shape != wanted.shape or not torch.allclose(found, wanted, rtol=NEAR, atol=NEAR):
            raise _fail(method, f"{name!r} of some columns differs without the others: it is not elementwise")
    return "columns: each as if alone"


def _round_trip(method: Method) -> str:
    whole, half, rest = (_made(method) for _ in range(3))
    whole.advance(6)
    half.advance(3)
    for name, value in rest.everything().items():
        value.copy_(half.everything()[name])
    rest.optimiser.resume(3)
    rest.advance(3)
    if changed := [
        n for n, value in whole.everything().items() if not torch.equal(value, rest.everything()[n])
    ]:
        raise _fail(
            method, f"continued from its state, {changed[0]!r} is not what it is without an interruption"
        )
    return "state: continued from it as if uninterrupted"


def _tensors(method: Method) -> str:
    number, tensor = _made(method), _made(method)
    number.advance(3)
    with no_waiting(partial(_fail, method)):
        tensor.advance(3, torch.tensor(RATE))
    if (gap := float((number.flat.weights - tensor.flat.weights).abs().max())) > NEAR:
        raise _fail(method, f"a learning rate as a tensor gives weights that differ by {gap:.1e}")
    return "step: the learning rate may be a tensor, the device is not waited for"


def probe(method: Method) -> list[list[float]]:
    """Some weights of two members after steps with given gradients: shows a plugin that was edited under an old name."""
    used = {"betas": (0.8, 0.95), "weight_decay": 0.1}
    recipe = Training(optimiser=method.name, **{name: used[name] for name in method.uses})  # type: ignore[arg-type]
    tried = Quadratic(range(MEMBERS), method, recipe)
    for step in range(4):
        tried.flat.grads.copy_(
            torch.randn(tried.flat.grads.shape, generator=torch.Generator().manual_seed(step))
        )
        tried.optimiser.step(0.1)
    return [[float(f"{value:.6g}") for value in row] for row in tried.flat.weights[:, ::5].tolist()]


def same(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> bool:
    """Whether two probes agree up to rounding."""
    pairs = zip(one, other, strict=True)
    return all(abs(a - b) <= 1e-4 * (1 + abs(a)) for rows in pairs for a, b in zip(*rows, strict=True))
