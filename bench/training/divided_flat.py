"""Training with a part of every parameter in each of several replicas (FSDP2: Zhao et al. 2023, arXiv 2304.11277).

A block has all of its parameters only while it is computed, forward and backward: they are gathered from the replicas before
it, in the precision of its products, and let go after it; its gradients are averaged over the replicas in float32, and each
keeps those of its part. What a step makes of gradients, and all that outlives it, are matrices ``[1, P / R]``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from bench.models.flat import Flat, Layout
from bench.models.network import Network
from bench.models.part import Part

# networks write into no output of a layer, which would lose what gathers its parameters
warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")


class DividedFlat(Flat):
    """The part that one replica has of a network of one member; ``precision`` is a recipe's. All replicas make theirs, and
    from then on run the network together."""

    def __init__(self, network: Network, part: Part, device: torch.device, precision: str) -> None:
        self.part = part
        shapes = [tuple(p.shape[1:]) for p in network.parameters()]
        self._whole = Layout([name for name, _ in network.named_parameters()], shapes)
        divide(network, part, device, precision)
        super().__init__(network)

    @property
    def whole(self) -> Layout:
        return self._whole

    def own(self, of: Tensor) -> Tensor:
        local = cast(DTensor, of).to_local()
        return local if len(local) else local.reshape(1, 0)

    def placed(self, model: nn.Module, views: Mapping[str, Tensor]) -> list[nn.Parameter]:
        here = {
            name: nn.Parameter(like(p, views[name]))
            for name, p in model.named_parameters()
            if views[name].numel()
        }
        model.load_state_dict(here, strict=False, assign=True)
        return list(model.parameters())

    def row(self, named: Mapping[str, Tensor]) -> Tensor:
        """The part of named parameters that is here."""
        whole = self.whole
        shaped = zip(whole.names, whole.shapes, strict=True)
        return torch.cat([named[name][self.part.slices(shape)].reshape(-1) for name, shape in shaped])

    def gathered(self, matrix: Tensor) -> Tensor:
        """All of ``matrix [1, P / R]`` on the host of the first replica, nothing in the others, which must call it, too."""
        parts = zip(self.parameters, self.views(matrix), strict=True)
        whole = (like(p, part).full_tensor() for p, part in parts)
        kept = [part.flatten(1).cpu() for part in whole if not self.part.rank]
        return torch.cat(kept, dim=1) if kept else matrix.new_empty(1, 0)


def divide(network: Network, part: Part, device: torch.device, precision: str) -> None:
    """Leave in each replica its part of the parameters, on the device; layers gather and let go of theirs one by one."""
    half = torch.bfloat16 if precision == "bf16" else None
    policy = MixedPrecisionPolicy(half, torch.float32 if half else None, cast_forward_inputs=False)
    mesh = init_device_mesh(device.type, (part.count,))

    def along(parameter: nn.Parameter) -> Shard:
        axis = part.axis(parameter.shape[1:])
        return Shard(0 if axis is None else 1 + axis)

    for layer in (*layers(network), network):
        # the network, too: what it has gathered for a validation would outlive the change of weights after it
        fully_shard(layer, mesh=mesh, reshard_after_forward=True, shard_placement_fn=along, mp_policy=policy)


def layers(network: Network) -> Iterator[nn.Module]:
    """The blocks, and the layers outside of them."""
    for child in network.children():
        several: Sequence[nn.Module] = [*child] if isinstance(child, nn.ModuleList) else [child]
        yield from (layer for layer in several if any(True for _ in layer.parameters()))


def like(parameter: nn.Parameter, part: Tensor) -> DTensor:
    """A part as that of a divided parameter."""
    divided = cast(DTensor, parameter)
    local = part.view(divided.to_local().shape)
    how = divided.device_mesh, divided.placements
    return DTensor.from_local(local, *how, run_check=False, shape=parameter.shape, stride=parameter.stride())
