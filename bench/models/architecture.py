"""The contract of a network, and the registry of architectures. No torch.

A network is an ``nn.Module`` of E independent members, whose parameters carry the member axis first:

    forward(x [E, B, C, H, W], clock [E, B], tokens [B, L, text width], pooled [B, pooled width]) -> [E, B, C, H, W]

``x`` is the scaled noisy image ``c_in x_t``, ``clock`` the formulation's ``c_noise``; captions are shared by the members.
``initialise(generator)`` gives every member the same start. ``blocks`` are submodules to be compiled one by one; ``forward``
then gets the compiled ones as ``blocks``. A network without ``blocks`` is compiled as a whole.

A plain ``nn.Module`` of one member, ``forward(x [B, C, H, W], clock [B], tokens, pooled) -> [B, C, H, W]``, becomes a
network by :class:`bench.models.plain.Plain`: a plugin needs no member axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from flowbench._core.plugin import text_behind
from flowbench._core.registry import Registry
from flowbench._core.spec import Specs

if TYPE_CHECKING:
    from bench.models.network import Network
    from bench.models.shape import Shape


class Architecture(ABC):
    """A kind of network. ``version`` is part of what a trained cell depends on: cells of another version are refused."""

    version: str
    text_sets: int = 1
    """How many sets of text tokens it tells apart (:attr:`bench.encoders.Encoder.sets`)."""
    probed: ClassVar[bool] = False
    """Whether its networks have :meth:`bench.models.network.Network.probe`, for ``--probes``."""

    def check(self, shape: Shape) -> None:  # noqa: B027  (most can have any)
        """Raise :class:`UserError` for a shape that it cannot have; called before anything is trained."""

    @abstractmethod
    def build(self, shape: Shape, members: int) -> Network:
        """``members`` networks of a shape in one module, as in this file's docstring; not initialised."""

    @abstractmethod
    def parameters(self, shape: Shape) -> int:
        """Parameters of one member."""

    @abstractmethod
    def activations(self, shape: Shape) -> int:
        """Numbers of one sample that the backward pass keeps, about."""

    def recomputed(self, shape: Shape) -> int | None:
        """The same where the ``blocks`` are computed again in the backward pass; None for a network without blocks."""
        return None

    @abstractmethod
    def flops(self, shape: Shape) -> int:
        """Multiply-adds times two of one member's forward pass on one sample."""


registry: Registry[Architecture] = Registry("model")


def register(template: str) -> Callable[[Callable[..., Architecture]], Callable[..., Architecture]]:
    """Decorator that adds an architecture: ``@register("my/conv(kernel)")`` on a function of options with defaults that
    returns an :class:`Architecture`; chosen by ``--model my/conv:kernel=5``.

    Raises:
        UserError: a malformed or existing name, or parameters that differ from the function's.
    """
    return registry.register(template)


specs = Specs(registry, Architecture, "--model")  # type: ignore[type-abstract]
canonical = specs.canonical
"""A spec with the options that differ from their defaults. Raises :class:`UserError`."""


@lru_cache(maxsize=256)
def get(spec: str) -> Architecture:
    """The architecture of that name, with its options. Raises :class:`UserError`."""
    return specs.make(spec)


registry.caches.append(get.cache_clear)


def version_of(spec: str) -> str:
    """What a trained cell depends on of its network: its version, and of a plugin also its name and the file's sha256."""
    text = text_behind(spec.partition(":")[0], ("model",))
    if text is None:
        return get(spec).version
    return f"{spec} {get(spec).version} {text[:8]}"
