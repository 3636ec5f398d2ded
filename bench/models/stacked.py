"""E members of any plain module: its parameters get a member axis, and its forward pass goes through ``vmap``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.utils.flop_counter import FlopCounterMode

from bench.models.network import Network
from bench.models.shape import Shape


class Stacked(Network):
    """``members`` of the module that ``make(shape)`` gives, each with parameters of its own; buffers are shared.

    A member's output is the plain module's to float rounding. Parameters have the module's names behind ``plain.``, each
    ``[E, ...]``.
    """

    def __init__(self, make: Callable[[Shape], nn.Module], shape: Shape, members: int) -> None:
        super().__init__()
        self.make, self.shape, self.members = make, shape, members
        with torch.random.fork_rng(devices=[]):
            self.plain = make(shape)
        self.blocks = nn.ModuleList()
        for module in self.plain.modules():
            for name, parameter in module.named_parameters(recurse=False):
                stacked = parameter.detach().expand(members, *parameter.shape).contiguous()
                setattr(module, name, nn.Parameter(stacked))

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        tokens: Tensor,
        pooled: Tensor,
        blocks: Iterable[Callable[..., Any]] | None = None,
    ) -> Tensor:
        def one(parameters: dict[str, Tensor], x: Tensor, clock: Tensor) -> Any:
            return functional_call(self.plain, parameters, (x, clock, tokens, pooled))

        out: Tensor = vmap(one)(dict(self.plain.named_parameters()), x, clock)
        return out

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """The start that the plain module gives itself, by a seed from ``generator``, for every member."""
        seed = int(torch.randint(2**31, (), generator=generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fresh = self.make(self.shape)
        for mine, new in zip(self.plain.parameters(), fresh.parameters(), strict=True):
            mine.copy_(new.to(mine.device).expand_as(mine))


def count(make: Callable[[Shape], nn.Module], shape: Shape) -> tuple[int, int, int]:
    """Parameters, numbers that the backward pass keeps of one sample, and multiply-adds times two of its forward pass:
    counted on the meta device, where nothing is computed."""
    kept: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.device("meta"):
        module = make(shape)
        x = torch.empty(1, shape.channels, shape.resolution, shape.resolution)
        tokens = torch.empty(1, shape.text_length, shape.text_width)
        captions = tokens, torch.empty(1, shape.pooled_width)
        counter = FlopCounterMode(display=False)
        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(x, torch.empty(1), *captions)
    parameters = sum(p.numel() for p in module.parameters())
    return parameters, max(0, sum(kept) - parameters), counter.get_total_flops()
