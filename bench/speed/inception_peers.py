"""Features and distances as we compute them, as clean-fid does, and as torch-fidelity does.

Inception has torch-fidelity's architecture (that of FID), and the same random weights for all three. For clean-fid
and for us it is traced into a TorchScript file of the form of theirs. Nothing is downloaded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.encoders import inception
from bench.pretrained.preprocessing import IMAGES_AT_ONCE
from bench.speed.peers import needed

Extract = Callable[[Tensor], Any]
"""uint8 ``[N, 3, H, W]`` to features ``[N, 2048]``."""


def extractors(folder: Path, device: torch.device) -> tuple[Extract, dict[str, Extract]]:
    """Ours, and each peer's by the name of its library, with files in ``folder``; all in the batches that we use."""
    from cleanfid.fid import get_model_features
    from cleanfid.inception_torchscript import InceptionV3W

    network = random_network(folder)
    save_traced(network, folder / inception.FILE)
    scripted = InceptionV3W(str(folder), download=False).to(device).eval()
    mine, network = inception.load(str(folder), str(device)), network.to(device)

    def cleanfid(images: Tensor) -> Any:
        """``get_model_features`` on images that a generator made; it takes only whole batches."""
        batch = min(IMAGES_AT_ONCE, len(images))
        parts = iter(images.split(batch))
        sizes = {"z_dim": 1, "num_gen": len(images), "batch_size": batch}
        return get_model_features(lambda z: next(parts), scripted, device=device, verbose=False, **sizes)

    @torch.no_grad()
    def fidelity(images: Tensor) -> Tensor:
        return torch.cat([network(part.to(device))[0].cpu() for part in images.split(IMAGES_AT_ONCE)])

    return mine.image_features, {"clean-fid": cleanfid, "torch-fidelity": fidelity}


def random_network(folder: Path) -> Any:
    """torch-fidelity's network with seeded random weights; ``folder`` takes a file of no weights that it asks for."""
    with needed("torch-fidelity"):
        from torch_fidelity import FeatureExtractorInceptionV3
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


def cleanfid_distance(images: Tensor, reference: Tensor) -> Callable[[], float]:
    """clean-fid's distance of numpy features to precomputed statistics, as its ``fid_folder`` computes it."""
    from cleanfid.fid import frechet_distance

    def statistics(rows: Any) -> tuple[Any, Any]:
        return np.mean(rows, axis=0), np.cov(rows, rowvar=False)

    known, given = statistics(reference.numpy()), images.numpy()
    return lambda: float(frechet_distance(*statistics(given), *known))


def fidelity_distance(images: Tensor, reference: Tensor) -> Callable[[], float]:
    """torch-fidelity's distance of features to precomputed statistics."""
    with needed("torch-fidelity"):
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    known = fid_features_to_statistics(reference)

    def distance() -> float:
        found = fid_statistics_to_metric(fid_features_to_statistics(images), known, False)
        return float(found["frechet_inception_distance"])

    return distance
