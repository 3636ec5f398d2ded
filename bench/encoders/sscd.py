"""SSCD features for near-duplicates (Pizzi et al. 2022, arXiv 2202.10261), by which the study removed those of its data.

    f = normalise(W gem(h) + b)        gem(h) = (mean over places of max(h, 1e-6)^3)^(1/3)

``h [2048, 9, 9]`` are the last features of torchvision's ResNet50 for an image whose short side has 288 pixels. Of the
published files those that end in ``.torchvision.pt`` are read: plain tensors by name. TorchScript is code, and is refused.
"""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.encoders.encoder import Encoder, register
from bench.pretrained.preprocessing import image_features, pillow, weights_digest
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

EDGE, POWER = 288, 3.0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the channels of ImageNet."""
PREFIX = "backbone."
"""Before every name in the published files."""
WANTED = "give the published file that ends in .torchvision.pt, or its tensors as .safetensors"


def gem(states: Tensor) -> Tensor:
    """Generalised mean ``[N, C]`` over the places of ``[N, C, H, W]`` (Radenović et al. 2019, arXiv 1711.02512)."""
    return states.clamp(min=1e-6).pow(POWER).mean((2, 3)).pow(1 / POWER)


class SSCD:
    """Image features of unit norm; it reads no text."""

    preprocessing = f"pil-bilinear{EDGE}"

    def __init__(self, network: Any, device: str) -> None:
        self._network, self._device = network.eval().to(device), device
        self.dim = int(network.fc.out_features)
        self.name = f"sscd-{weights_digest(network.state_dict())}"

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]`` to float32 ``[N, dim]``."""
        return image_features(images, self._features, self.dim)

    def _features(self, batch: Tensor) -> Tensor:
        from torchvision.transforms import functional

        resized = [functional.resize(image, EDGE) for image in pillow(batch)]  # type: ignore[arg-type]
        pixels = torch.stack([functional.to_tensor(image) for image in resized])
        found = self._network(functional.normalize(pixels, MEAN, STD).to(self._device))
        return torch.nn.functional.normalize(found).float().cpu()


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises :class:`UserError` for a file of another kind, and executes nothing of it."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about TorchScript, before the error
            found = torch.load(file, weights_only=True, map_location="cpu")
        if isinstance(found, dict) and all(isinstance(each, torch.Tensor) for each in found.values()):
            return dict(found)
        reason = "it holds more than tensors by name"
    except RuntimeError as error:
        reason = "it is TorchScript, which is code" if "TorchScript" in str(error) else "it is damaged"
    except pickle.UnpicklingError:
        reason = "it holds Python objects, which are code"
    except Exception as error:  # safetensors and zip have kinds of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise UserError(f"the file {str(file)!r} is no weights of SSCD ({reason}): {WANTED}")


def load(file: Path, device: str) -> SSCD:
    """SSCD of a file. Raises :class:`UserError` for weights that are not those of its ResNet50."""
    from torchvision.models import resnet50

    state = {name.removeprefix(PREFIX): tensor.float() for name, tensor in read(file).items()}
    dim = len(state["fc.bias"]) if "fc.bias" in state else 1
    with torch.random.fork_rng(devices=[]):  # building the modules draws numbers that the weights replace
        network: Any = resnet50(num_classes=dim)
    network.avgpool.forward = gem
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise UserError(
            f"the file {str(file)!r} is no weights of SSCD with a ResNet50 ({first[0].strip()}): {WANTED}"
        ) from None
    return SSCD(network, device)


class SSCDFile(Encoder):
    """A file of weights."""

    images = True
    image_flops = 1.4e10

    def __init__(self, path: str) -> None:
        self.file = Path(path).expanduser()

    def check(self) -> None:
        if not self.file.is_file():
            raise UserError(f"extractor 'sscd:{self.file}': there is no such file; {WANTED}")

    def load(self, device: str) -> SSCD:
        self.check()
        return load(self.file, device)


@register("sscd(path)")
def sscd(path: str) -> Encoder:
    """SSCD's ResNet50 of a file of weights, for near-duplicates; it reads no text."""
    return SSCDFile(path)
