"""Networks: contract and registry (`architecture`), sizes (`shape`), any plain module as members (`plain`, `stacked`), and
all parameters of a pack as one matrix (`flat`).

The architectures that come with the project declare and count themselves in `*_size(s)`; their networks lie in `networks`.
Importing registers the names; it needs no torch.
"""

from bench.models import block_sizes, mmdit_size, uvit_sizes  # noqa: F401
from bench.models.architecture import Architecture, get, register, registry
from bench.models.plain import Plain
from bench.models.shape import Shape

__all__ = ["Architecture", "Plain", "Shape", "get", "register"]


def _check(name: str) -> list[str]:
    from bench.models.check_architecture import check  # imports torch

    return check(name)


registry.check = _check
