"""InceptionV3 features as clean-fid computes them (Parmar, Zhang & Zhu 2022, arXiv 2104.11222).

Each channel is resized to 299 x 299 in float with Pillow's antialiased bicubic filter and not rounded back to
8 bits, then the TorchScript network of StyleGAN2-ADA gives 2048 features. Both parts are clean-fid's own
code.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data.images import cache_folder
from bench.encoders.encoder import Encoder, register
from bench.pretrained.preprocessing import file_digest, image_features
from bench.runfolder.trust import check_code
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

FILE = "inception-2015-12-05.pt"


class Inception:
    """Image features of InceptionV3; it reads no text."""

    preprocessing = "cleanfid-bicubic299"
    dim = 2048

    def __init__(self, folder: Path, device: str) -> None:
        from cleanfid.inception_torchscript import InceptionV3W
        from cleanfid.resize import build_resizer

        self.name = f"inception-{file_digest(folder / FILE)}"
        self._device = device
        self._network: Any = InceptionV3W(str(folder), download=False).to(device).eval()
        self._resize: Any = build_resizer("clean")

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]`` to float32 ``[N, 2048]``."""
        return image_features(images, self._features, self.dim)

    def _features(self, batch: Tensor) -> Tensor:
        resized = [torch.from_numpy(self._resize(image)) for image in batch.permute(0, 2, 3, 1).cpu().numpy()]
        features: Tensor = self._network(
            torch.stack(resized).permute(0, 3, 1, 2).contiguous().to(self._device)
        )
        return features.float().cpu()


def load(path: str | None, device: str = "cpu") -> Inception:
    """Inception from ``path`` (the file ``inception-2015-12-05.pt`` or its folder), or from the user's cache. Not from
    ``/tmp``, where clean-fid keeps it: TorchScript is code, and any user may have put it there.

    Raises `UserError` if the file is absent, can be changed by other users, or is not that network.
    """
    folder = find(path)
    check_code(folder / FILE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated; the file is one
            return Inception(folder, device)
    except (RuntimeError, AttributeError, OSError) as error:
        raise UserError(
            f"{str(folder / FILE)!r} is not clean-fid's Inception network ({_first_line(error)})"
        ) from error


def find(path: str | None) -> Path:
    """The folder of Inception's file. Raises `UserError` if it is absent."""
    folder = Path(path).expanduser() if path else cache_folder(None)
    if folder.name == FILE:
        folder = folder.parent
    if not (folder / FILE).is_file():
        raise UserError(
            f"no Inception weights {FILE} in {str(folder)!r}: fetch them once with `python -c"
            " \"from cleanfid.downloads_helper import check_download_inception as get; get('FOLDER')\"`"
            " and give inception:FOLDER"
        )
    return folder


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class InceptionFile(Encoder):
    """The file of clean-fid's Inception."""

    images = True
    image_flops = 1.1e10

    def __init__(self, path: str | None) -> None:
        self.path = path

    def load(self, device: str) -> Inception:
        return load(self.path, device)

    def check(self) -> None:
        find(self.path)


@register("inception(path)")
def inception(path: str | None = None) -> Encoder:
    """clean-fid's resize and its InceptionV3, from a file or the user's cache; it reads no text."""
    return InceptionFile(path)
