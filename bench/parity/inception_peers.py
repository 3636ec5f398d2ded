"""Inception features as we compute them, and as clean-fid, torch-fidelity and torchmetrics do, with the same weights.

The weights are random in torch-fidelity's architecture (that of FID), for clean-fid and for us traced into a TorchScript
file of the form of theirs; or the published ones, from a folder with both files. Nothing is downloaded.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.encoders import inception
from bench.pretrained.preprocessing import IMAGES_AT_ONCE
from flowbench._core.errors import UserError
from flowbench._core.lazy import needed

Extract = Callable[[Tensor], Tensor]
"""uint8 ``[N, 3, H, W]`` to features float32 ``[N, 2048]``."""
Weights = Mapping[str, Tensor]
"""Of Inception, by torch-fidelity's names."""
FIDELITY_FILE = "weights-inception-2015-12-05-6726825d.pth"
"""torch-fidelity's file of the weights that clean-fid has in :data:`bench.encoders.inception.FILE`."""
OURS = "flowbench"


def extractors(folder: Path, weights: Weights, device: torch.device) -> dict[str, Extract]:
    """Ours and each peer's by the name of its library, all in the batches that we use.

    ``folder`` holds clean-fid's file, ``weights`` are the same.
    """
    from cleanfid.fid import get_model_features
    from cleanfid.inception_torchscript import InceptionV3W
    from torchmetrics.image.fid import NoTrainInceptionV3

    scripted = InceptionV3W(str(folder), download=False).to(device).eval()
    fidelity = network(weights).to(device)
    metrics = network(weights, NoTrainInceptionV3).to(device)

    def cleanfid(images: Tensor) -> Tensor:
        """``get_model_features`` on images that a generator made; it takes only whole batches."""
        batch = min(IMAGES_AT_ONCE, len(images))
        whole = images.split(batch)
        parts = iter([*whole[:-1], torch.cat([whole[-1], images[: len(whole) * batch - len(images)]])])
        sizes = {"z_dim": 1, "num_gen": len(whole) * batch, "batch_size": batch}
        found = get_model_features(lambda z: next(parts), scripted, device=device, verbose=False, **sizes)
        return torch.from_numpy(found)[: len(images)]

    @torch.no_grad()
    def in_batches(model: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        return torch.cat([model(part.to(device)).cpu() for part in images.split(IMAGES_AT_ONCE)])

    return {
        OURS: inception.load(str(folder), str(device)).image_features,
        "clean-fid": cleanfid,
        "torch-fidelity": lambda images: in_batches(lambda part: fidelity(part)[0], images),
        "torchmetrics": lambda images: in_batches(metrics, images),
    }


def network(weights: Weights | None = None, kind: type | None = None) -> Any:
    """torch-fidelity's network, or torchmetrics' ``kind`` of it, with weights; without them as it is made."""
    with needed("torch-fidelity"):
        from torch_fidelity import FeatureExtractorInceptionV3
    nothing = io.BytesIO()
    torch.save({}, nothing)
    nothing.seek(0)
    base = kind or FeatureExtractorInceptionV3
    unloaded = type("Unloaded", (base,), {"load_state_dict": lambda self, state: None})
    made = unloaded("inception-v3-compat", ["2048"], feature_extractor_weights_path=nothing)
    if weights is not None:
        nn.Module.load_state_dict(made, weights)
    return made


def random_weights(folder: Path) -> Weights:
    """Seeded random weights, written into ``folder`` as clean-fid's file, too."""
    made = network()
    generator = torch.Generator().manual_seed(0)
    for module in made.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    save_traced(made, folder / inception.FILE)
    found: Weights = made.state_dict()
    return found


def published_weights(folder: Path) -> Weights:
    """Those of torch-fidelity's file in ``folder``. Raises :class:`UserError` if the file is absent or damaged."""
    file = folder / FIDELITY_FILE
    if not file.is_file():
        raise UserError(
            f"--inception {folder}: torch-fidelity's {FIDELITY_FILE} has to lie in that folder, too "
            f"(from its releases at github.com/toshas/torch-fidelity)"
        )
    try:
        found: Weights = torch.load(file, weights_only=True)
        network(found)
    except Exception as error:  # torch raises several kinds
        raise UserError(f"--inception: {file} is not torch-fidelity's file of weights") from error
    return found


def save_traced(made: nn.Module, file: Path) -> None:
    """Save the network up to its 2048 features as a TorchScript file with the submodule ``layers`` that clean-fid runs."""
    layers = [module for name, module in made.named_children() if name != "fc"]
    whole = nn.Sequential(OrderedDict(layers=nn.Sequential(*layers, nn.Flatten())))
    torch.jit.save(torch.jit.trace(whole, torch.zeros(1, 3, 299, 299)), str(file))
