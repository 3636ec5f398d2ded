"""The contract of encoders, and their registry: frozen networks that condition generators and measure images. No torch.

    @register("gradients(bins)")
    def gradients(bins: int = 8) -> Encoder:
        return Gradients(bins)

``--extractor`` and ``--text`` name an :class:`Encoder`. It answers what plans ask without loading weights, and loads an
:class:`Extractor`, a :class:`TextEncoder`, or what is both. Weights come from a path or the user's own cache: nothing is
downloaded, and absent weights are one clear sentence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from bench.pretrained.sampled_digest import sampled_digest
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.plugin import source_behind
from flowbench._core.registry import Registry, blame
from flowbench._core.spec import Specs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.data.dataset import Rows
else:
    torch = lazy("torch")

Role = Literal["text", "extractor"]
"""What an encoder is used for: ``--text`` conditions generators, ``--extractor`` measures their images."""


@runtime_checkable
class Extractor(Protocol):
    """A loaded network that turns images into features.

    ``name`` carries a digest of the weights, ``preprocessing`` describes what happens to the pixels, ``dim`` is the number
    ``D`` of features. Features do not depend on how the images are cut into batches. One that can also embed captions has
    ``text_features(captions) -> float32 [N, D]``, too, on the CPU and in the same space.
    """

    @property
    def name(self) -> str: ...
    @property
    def preprocessing(self) -> str: ...
    @property
    def dim(self) -> int: ...

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]``, ``C`` 1 or 3, to float32 ``[N, D]`` on the CPU, as the network gives them."""
        ...


@dataclass(frozen=True)
class TextPart:
    """What one network of several gives: a range of the tokens, of their channels, and of the pooled vector, each from its
    first place to behind its last. Everything outside of all parts is zero."""

    name: str
    tokens: tuple[int, int]
    channels: tuple[int, int]
    pooled: tuple[int, int]


class TextEncoder(Protocol):
    """A loaded network that conditions generators: ``name`` carries a digest of the weights.

    One of several networks may have ``parts``, a tuple of :class:`TextPart`, with the names that its encoder declares. One
    with a token for what is outside of its vocabulary may have ``unknown(captions)``, as :func:`count_unknown`.
    """

    @property
    def name(self) -> str: ...

    def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens ``[N, L, width]``, zero at padding, and pooled vectors ``[N, pooled]``, float32 on the CPU."""
        ...

    def cut(self, captions: Iterable[str]) -> int:
        """How many captions are longer than it reads."""
        ...


@dataclass(frozen=True)
class TextSizes:
    """Sizes of encoded captions: tokens at most, special ones among them, their width, and that of the pooled vector.

    ``filled`` are the values of all tokens that are not zero in every caption; None: all.
    """

    length: int
    special: int
    width: int
    pooled: int
    filled: int | None = None

    @property
    def bytes(self) -> int:
        """What a caption takes on disk, at most: its states in half precision, its pooled vector in single precision."""
        return 2 * (self.length * self.width if self.filled is None else self.filled) + 4 * self.pooled


class Encoder(ABC):
    """A frozen network with its options. The attributes are declared, so that plans need not load it.

    Attributes:
        images: whether it has features of images, so that it can measure.
        texts: whether it has features of captions in the space of its images, for the CLIP score.
        tokens: whether it gives token vectors of captions, so that it can condition generators.
        parts: names of the networks that it joins, to be dropped one by one; empty for a single one.
        sets: sets of tokens that it joins one behind the other, each of networks of its own.
        image_flops, caption_flops: operations for one image and for one caption, for estimates.
    """

    images: bool = False
    texts: bool = False
    tokens: bool = False
    parts: tuple[str, ...] = ()
    sets: int = 1
    image_flops: float = 0.0
    caption_flops: float = 0.0

    @abstractmethod
    def load(self, device: str) -> Any:
        """The network on a device: an :class:`Extractor`, a :class:`TextEncoder` or both, as declared. Raises
        :class:`UserError` for absent, partial or damaged weights."""

    def check(self) -> None:  # noqa: B027  (one without files needs none)
        """Raise :class:`UserError` for weights that are not there. Loads nothing."""

    def check_words(self, captions: Sequence[str], where: str) -> None:  # noqa: B027  (most read any words)
        """Raise :class:`UserError` if too few words of the captions of ``where``, a dataset, were learned."""

    def text_sizes(self) -> TextSizes | None:
        """Sizes of encoded captions; None if they cannot be read without the network. Loads nothing."""
        return None

    def text_files(self) -> Mapping[str, Path]:
        """The files that decide what it gives for a caption, by a name that does not depend on where they lie; those that
        are there. Loads nothing."""
        return {}


registry: Registry[Encoder] = Registry("encoder")
register = registry.register
"""Decorator that adds an encoder: ``@register("siglip(path)")`` on a function that returns its :class:`Encoder`. A parameter
without a default, or with the default None, takes what follows the colon: ``siglip:PATH``."""
specs = Specs(registry, Encoder, "encoder", arguments=True)  # type: ignore[type-abstract]
canonical = specs.canonical
"""A spec with the options that differ from their defaults. Raises :class:`UserError`."""


@lru_cache(maxsize=256)
def get(spec: str) -> Encoder:
    """The encoder of that name, with its options, not loaded.

    Raises:
        UserError: an unknown name, option or value, with the nearest; no path where one is needed.
    """
    return specs.make(spec)


registry.caches.append(get.cache_clear)


def require(spec: str, role: Role) -> Encoder:
    """The encoder of that name for a role. Raises :class:`UserError` for one that cannot have it. Loads nothing."""
    encoder = get(spec)
    if not (encoder.tokens if role == "text" else encoder.images):
        lacks = "gives no token vectors of captions" if role == "text" else "has no features of images"
        raise UserError(f"--{role} {spec!r} {lacks}: choose another, `python -m bench.plugins` lists all")
    return encoder


def extractor(spec: str, device: str = "cpu") -> Extractor:
    """The loaded network that measures images. Raises :class:`UserError` as :func:`get`, and for weights that are absent
    or damaged."""
    loaded: Extractor = _load(spec, "extractor", device)
    return loaded


def text_encoder(spec: str, device: str = "cpu") -> TextEncoder:
    """The loaded network that conditions generators. Raises as :func:`extractor`."""
    loaded: TextEncoder = _load(spec, "text", device)
    return loaded


def _load(spec: str, role: Role, device: str) -> Any:
    encoder, source = require(spec, role), plugin_digest(spec)
    if not source:
        return encoder.load(device)
    with blame(f"encoder {spec!r}"):
        made = encoder.load(device)
        needed = {
            "image_features": encoder.images,
            "text_features": encoder.texts,
            "encode_text": encoder.tokens,
        }
        for method, declared in needed.items():
            if declared and not callable(getattr(made, method, None)):
                raise UserError(f"encoder {spec!r} loads {type(made).__name__}, which has no {method}")
        return Renamed(made, f"{made.name}-{source}")


def plugin_digest(spec: str) -> str:
    """Eight hex digits that name the text of the plugin that an encoder comes from; empty for one of ours."""
    if type(get(spec)).__module__.startswith("bench.encoders."):
        return ""
    return source_behind(spec.partition(":")[0], registry)[:8]


def file_digests(spec: str) -> dict[str, str]:
    """A digest of each of an encoder's :meth:`~Encoder.text_files`, by name, and of its plugin. Loads nothing."""
    found = {name: sampled_digest(file) for name, file in get(spec).text_files().items()}
    return found | ({"plugin": source} if (source := plugin_digest(spec)) else {})


class Renamed:
    """An encoder of a plugin, whose name carries a digest of the plugin's text: nothing else shows that its code changed."""

    def __init__(self, encoder: Any, name: str) -> None:
        self._encoder, self.name = encoder, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._encoder, attribute)


def text_parts(encoder: TextEncoder, tokens: Tensor, pooled: Tensor) -> tuple[TextPart, ...]:
    """The parts of what an encoder gave, ``tokens [N, L, W]`` and ``pooled [N, D]``; all of it of one that declares none."""
    declared: tuple[TextPart, ...] = getattr(encoder, "parts", ())
    return declared or (TextPart("text", (0, tokens.shape[1]), (0, tokens.shape[2]), (0, pooled.shape[1])),)


def count_unknown(encoder: TextEncoder, captions: Iterable[str]) -> int:
    """How many captions are at least half of tokens outside of an encoder's vocabulary; 0 if it does not count them."""
    count = getattr(encoder, "unknown", None)
    return count(captions) if count else 0


def reads_text(extractor: Extractor) -> bool:
    """Whether an extractor embeds captions, too."""
    return hasattr(extractor, "text_features")


def text_features(model: Extractor, captions: Sequence[str]) -> Tensor | None:
    """Features ``[N, D]`` of captions in the space of the images; None from an extractor without. Raises as
    :func:`check_finite`."""
    if not reads_text(model):
        return None
    found: Tensor = model.text_features(captions)  # type: ignore[attr-defined]
    check_finite(model.name, "caption", captions, found)
    return found


def features(model: Extractor, images: Rows | Tensor, chunk: int = 512) -> Tensor:
    """Features ``[N, D]`` of uint8 images ``[N, C, H, W]``, read ``chunk`` at a time. Raises as :func:`check_finite`."""
    found = []
    for first in range(0, len(images), chunk):
        rows = np.arange(first, min(first + chunk, len(images)))
        found.append(model.image_features(torch.as_tensor(images[rows])))
        check_finite(model.name, "image", range(first, first + chunk), found[-1])
    return torch.cat(found)


def check_finite(name: str, what: str, items: Sequence[object], *found: Tensor) -> None:
    """Raise :class:`UserError` that names the first of several ``items`` for which the encoder ``name`` gave a value
    ``found [N, ...]`` that is not finite."""
    finite = torch.stack([part.flatten(1).isfinite().all(dim=1) for part in found]).all(dim=0)
    if not bool(finite.all()):
        raise UserError(
            f"{name} gives values that are not finite for the {what} {items[int(finite.int().argmin())]!r}: its weights are "
            f"damaged, or overflow in its precision"
        )
