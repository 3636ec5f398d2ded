"""Feature extractors for the metrics, behind one small interface.

========================  =====================================================  ======
spec                      model and preprocessing                                texts
========================  =====================================================  ======
``tinyclip``              the dual encoder shipped with this package             yes
``tinyclip:PATH``         one trained with ``python -m bench.tinyclip``  yes
``clip:PATH_OR_NAME``     transformers' CLIPModel, Pillow preprocessing          yes
``torchmetrics:PATH_...`` the same weights as torchmetrics' CLIPScore runs them  yes
``inception:PATH``        clean-fid's resize and its InceptionV3                 no
========================  =====================================================  ======

Weights come from a local path or the user's own cache. Nothing is downloaded; absent weights are one clear
sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.data.dataset import Rows
else:
    torch = lazy("torch")

KINDS = ("tinyclip", "clip", "torchmetrics", "inception")


@runtime_checkable
class Extractor(Protocol):
    """What a metric needs of a model that turns images and captions into features.

    ``name`` carries a digest of the weights, ``preprocessing`` describes what happens to the pixels,
    ``dim`` is the number ``D`` of features. Features do not depend on how the images are cut into batches.
    """

    @property
    def name(self) -> str: ...
    @property
    def preprocessing(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def has_text(self) -> bool: ...

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]``, ``C`` 1 or 3, to float32 ``[N, D]`` on the CPU, as the model gives them."""
        ...

    def text_features(self, captions: Sequence[str]) -> Tensor:
        """Captions to float32 ``[N, D]`` on the CPU; `UserError` where the model reads no text."""
        ...


def check_spec(spec: str) -> None:
    """Raise `UserError` if ``spec`` names no extractor, or a ``tinyclip:`` file that is not there. Loads nothing."""
    kind, where = _parts(spec)
    if kind == "tinyclip" and where and not Path(where).exists():
        raise UserError(f"extractor {spec!r}: there is no file {where}")


def check_weights(spec: str) -> None:
    """Raise the `UserError` of :func:`extractor` if the weights that ``spec`` names are not there. Loads nothing."""
    check_spec(spec)
    kind, where = _parts(spec)
    if kind == "inception":
        from bench.encoders import inception

        inception.find(where or None)
    elif kind != "tinyclip":
        from bench.encoders import clip

        clip.check(_named(kind, where), _library(kind))


def check_words(spec: str, captions: Sequence[str], dataset: str) -> None:
    """Raise `UserError` if the encoder that ``spec`` names has learned too few of the words of a data set."""
    kind, where = _parts(spec)
    if kind == "tinyclip" and captions:
        from bench.encoders import tinyclip_encoder

        tinyclip_encoder.load(where or None).require_vocabulary(captions, dataset)


def _named(kind: str, where: str) -> str:
    if not where:
        raise UserError(
            f"extractor {kind!r} needs a folder or a model name, e.g. '{kind}:openai/clip-vit-large-patch14'"
        )
    return where


def _library(kind: str) -> Literal["transformers", "torchmetrics"]:
    return "torchmetrics" if kind == "torchmetrics" else "transformers"


def _parts(spec: str) -> tuple[str, str]:
    kind, _, where = spec.partition(":")
    if kind not in KINDS:
        raise UserError(f"unknown extractor {spec!r}; {nearest(kind, KINDS)}")
    if spec.endswith(":"):
        raise UserError(f"extractor {spec!r} names no path after the colon")
    return kind, where


def extractor(spec: str, device: str = "cpu") -> Extractor:
    """The extractor that ``spec`` names (see the module's table), on ``device``.

    Raises `UserError` for an unknown kind, a missing path or absent or damaged weights.
    """
    kind, where = _parts(spec)
    if kind == "tinyclip":
        from bench.encoders import tinyclip_encoder

        loaded: Extractor = tinyclip_encoder.load(where or None, device)
        return loaded
    if kind == "inception":
        from bench.encoders import inception

        return inception.load(where or None, device)
    from bench.encoders import clip

    return clip.load(_named(kind, where), device, library=_library(kind))


def features(model: Extractor, images: Rows | Tensor, chunk: int = 512) -> Tensor:
    """Features ``[N, D]`` of uint8 images ``[N, C, H, W]``, read ``chunk`` at a time."""
    numbers = (np.arange(i, min(i + chunk, len(images))) for i in range(0, len(images), chunk))
    return torch.cat([model.image_features(torch.as_tensor(images[rows])) for rows in numbers])
