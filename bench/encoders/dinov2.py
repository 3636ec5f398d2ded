"""DINOv2 features (Oquab et al. 2023, arXiv 2304.07193), which agree better with people than Inception's (Stein et al. 2023,
arXiv 2306.04675): the class token behind the last norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.encoders.encoder import Encoder, register
from bench.pretrained.hub import Place, described, image_processor, settings
from bench.pretrained.precision import USUAL, check_precision, computing, suffix
from bench.pretrained.preprocessing import form, image_features, pillow, weights_digest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")


class DINOv2:
    """Image features of one DINOv2 model; it reads no text."""

    def __init__(self, model: Any, images: Any, device: str, precision: str) -> None:
        self._model, self._images, self._device = model.float().eval(), images, device
        self.dim = int(model.config.hidden_size)
        self.preprocessing = described(images)
        made = [settings(images), form(model.config)]
        self.name = f"dinov2-{weights_digest(model.state_dict(), made)}{suffix(precision)}"
        computing(model, device, precision)

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]`` to float32 ``[N, dim]``."""
        return image_features(images, self._features, self.dim)

    def _features(self, batch: Tensor) -> Tensor:
        pixels = self._images(images=pillow(batch), return_tensors="pt")["pixel_values"]
        features: Tensor = self._model(pixel_values=pixels.to(self._device, self._model.dtype)).pooler_output
        return features.float().cpu()


class DINOv2Weights(Encoder):
    """A DINOv2 model of transformers; its operations are those of ViT-L/14."""

    images = True
    image_flops = 1.6e11

    def __init__(self, where: str, precision: str) -> None:
        self.precision = precision
        check_precision(f"extractor 'dinov2:{where}'", precision)
        self.place = Place(where, "dinov2", "DINOv2")

    def load(self, device: str) -> DINOv2:
        self.place.check()
        model, images = self.place.load("Dinov2Model", image_processor("Bit"))
        return DINOv2(model, images, device, self.precision)

    def check(self) -> None:
        self.place.check()


@register("dinov2(path,precision)")
def dinov2(path: str, precision: str = USUAL) -> Encoder:
    """transformers' Dinov2Model in a folder or by its name in the user's cache."""
    return DINOv2Weights(path, precision)
