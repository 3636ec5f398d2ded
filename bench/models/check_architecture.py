"""The check that an architecture must pass (``python -m bench.plugins check model NAME``)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.models.architecture import get
from bench.models.shape import Shape
from flowbench._core.errors import UserError
from flowbench._core.registry import blame

SMALL = {"depth": 3, "width": 32, "heads": 2, "patch": 4, "resolution": 16, "channels": 3}
CAPTIONS = {"text_length": 5, "text_width": 24, "pooled_width": 16, "first_text": 3}
MEMBERS, BATCH = 2, 3


def check(name: str) -> list[str]:
    """Build a small network of the architecture and check it; returns one line per passed check.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin's functions name file and line.
    """
    shape = Shape(**SMALL, **CAPTIONS, architecture=name)
    with blame(f"model {name!r}"):
        network = get(name).build(shape, MEMBERS)
        network.initialise(torch.Generator().manual_seed(0))
        return [part(shape, network) for part in (_start, _counts, _output, _members, _gradients)]


def _inputs(shape: Shape) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def draw(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator)

    image = (shape.channels, shape.resolution, shape.resolution)
    tokens, pooled = draw(BATCH, shape.text_length, shape.text_width), draw(BATCH, shape.pooled_width)
    return draw(MEMBERS, BATCH, *image), draw(MEMBERS, BATCH).sigmoid(), tokens, pooled


def _shake(network: torch.nn.Module) -> None:
    """Leave no parameter at zero, where a start of zeros would hide what it does."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))


def _start(shape: Shape, network: torch.nn.Module) -> str:
    for name, p in network.named_parameters():
        if len(p) != MEMBERS or not torch.equal(p[0], p[1]):
            raise UserError(f"its parameter {name} is not [E, ...] with the same start for every member")
    return "start: the same for every member"


def _counts(shape: Shape, network: torch.nn.Module) -> str:
    real = sum(p[0].numel() for p in network.parameters())
    if shape.parameters() != real:
        raise UserError(f"it declares {shape.parameters():,} parameters, and has {real:,}")
    if not 0 < shape.flops() < math.inf or shape.activations() < 0:
        raise UserError("it declares no operations")
    return f"counts: {real:,} parameters, {shape.flops():,} operations at depth {shape.depth}"


def _output(shape: Shape, network: torch.nn.Module) -> str:
    _shake(network)
    x, clock, tokens, pooled = _inputs(shape)
    out, again = network(x, clock, tokens, pooled), network(x, clock, tokens, pooled)
    if out.shape != x.shape or not bool(out.isfinite().all()):
        raise UserError(f"its output is {list(out.shape)} or not finite, not {list(x.shape)}")
    if not torch.equal(out, again):
        raise UserError("its output differs from call to call: nothing random may be drawn in a forward pass")
    one = network(x[:, :1], clock[:, :1], tokens[:1], pooled[:1])
    if not torch.allclose(one, out[:, :1], rtol=1e-4, atol=1e-5):
        raise UserError("the output for an image depends on the others of its batch")
    return "output: of the input's shape, finite, the same in every call and batch"


def _members(shape: Shape, network: torch.nn.Module) -> str:
    x, clock, tokens, pooled = _inputs(shape)
    before = network(x, clock, tokens, pooled)
    with torch.no_grad():
        for p in network.parameters():
            p[1].mul_(0.5)
    after = network(x, clock, tokens, pooled)
    if not torch.allclose(before[0], after[0], rtol=1e-5, atol=1e-6) or torch.equal(before[1], after[1]):
        raise UserError("a member's output depends on the parameters of another one, or not on its own")
    return "members: independent"


def _gradients(shape: Shape, network: torch.nn.Module) -> str:
    network(*_inputs(shape)).square().sum().backward()
    for name, p in network.named_parameters():
        if p.grad is None or not bool(p.grad.isfinite().all()) or not bool(p.grad.any()):
            raise UserError(f"no finite gradient reaches its parameter {name}")
    return "gradients: finite, and reach every parameter"
