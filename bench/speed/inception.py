"""Inception three times with the same random weights: as we run it, as clean-fid does, and as torch-fidelity does.

The architecture is torch-fidelity's (that of FID). For clean-fid and for us it is traced into a TorchScript file of the
form of theirs. Nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from bench.encoders import inception
from bench.speed.peers import missing

Extract = Callable[[Tensor], Any]
"""uint8 ``[N, 3, H, W]`` to features ``[N, 2048]``."""


class Networks:
    """The three extractors on a device; a context manager that holds their file."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> Networks:
        from cleanfid.inception_torchscript import InceptionV3W

        self.folder = tempfile.TemporaryDirectory()
        folder = Path(self.folder.name)
        network = random_network(folder)
        save_traced(network, folder / inception.FILE)
        self.scripted = InceptionV3W(str(folder), download=False).to(self.device).eval()
        self.mine, self.network = inception.load(str(folder), str(self.device)), network.to(self.device)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.folder.cleanup()

    def ours(self, images: Tensor) -> Any:
        """As :mod:`bench.encoders.inception` computes them."""
        return self.mine.image_features(images)

    def peer(self, name: str) -> Extract:
        """As a library computes them: ``clean-fid`` or ``torch-fidelity``."""
        return self.cleanfid() if name == "clean-fid" else self.fidelity

    def cleanfid(self) -> Extract:
        """clean-fid's ``get_model_features`` on images that a generator made, in the batches that we use.

        It takes only whole batches.
        """
        from cleanfid.fid import get_model_features

        def extract(images: Tensor) -> Any:
            batch = min(inception.BATCH, len(images))
            parts = iter(images.split(batch))
            return get_model_features(
                lambda z: next(parts),
                self.scripted,
                z_dim=1,
                num_gen=len(images),
                batch_size=batch,
                device=self.device,
                verbose=False,
            )

        return extract

    def fidelity(self, images: Tensor) -> Any:
        """torch-fidelity's extractor, in the batches that we use."""
        with torch.no_grad():
            parts = [self.network(part.to(self.device))[0].cpu() for part in images.split(inception.BATCH)]
        return torch.cat(parts)


def random_network(folder: Path) -> Any:
    """torch-fidelity's network with seeded random weights; ``folder`` takes a file of no weights that it asks for."""
    try:
        from torch_fidelity import FeatureExtractorInceptionV3
    except ImportError:
        raise missing("torch-fidelity") from None
    empty = folder / "none.pt"
    torch.save({}, empty)
    unloaded = type("Unloaded", (FeatureExtractorInceptionV3,), {"load_state_dict": lambda self, state: None})
    network = unloaded("random", ["2048"], feature_extractor_weights_path=str(empty))
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    return network


def save_traced(network: nn.Module, file: Path) -> None:
    """Save the network up to its 2048 features as a TorchScript file with the submodule ``layers`` that clean-fid runs."""
    layers = [module for name, module in network.named_children() if name != "fc"]
    whole = nn.Sequential(OrderedDict(layers=nn.Sequential(*layers, nn.Flatten())))
    torch.jit.save(torch.jit.trace(whole, torch.zeros(1, 3, 299, 299)), str(file))
