"""Frozen autoencoders of diffusers: images to latents and back.

    latent = (z - shift) scale        z as the encoder gives it
    z = latent / scale + shift        what the decoder reads

with ``scaling_factor`` and ``shift_factor`` of the model's ``config.json``, or for each channel by its ``latents_std`` and
``latents_mean`` where it has these. Images are [-1, 1] inside.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.pretrained.hub import Place
from bench.pretrained.preprocessing import form, rgb, weights_digest
from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Posterior = tuple["Tensor", "Tensor | None"]
"""Mean and deviation of a latent's distribution; no deviation where the encoder is deterministic."""


def gaussian(found: Any) -> Posterior:
    """The answer of classes whose encoder gives a diagonal Gaussian."""
    return found.latent_dist.mean, found.latent_dist.std


@dataclass(frozen=True)
class Adapter:
    """What differs between classes of diffusers: how the encoder's answer is read, and the field of their configuration
    that lists a width for each resolution."""

    read: Callable[[Any], Posterior]
    widths: str


ADAPTERS = {
    "AutoencoderKL": Adapter(gaussian, "block_out_channels"),
    "AutoencoderTiny": Adapter(lambda found: (found.latents, None), "encoder_block_out_channels"),
    "AutoencoderDC": Adapter(lambda found: (found.latent, None), "encoder_block_out_channels"),
}
"""The classes that are read, by ``_class_name`` of ``config.json``."""


class Autoencoder:
    """A loaded autoencoder.

    Attributes: ``name`` (class and a digest of weights and scaling), ``channels`` and ``factor`` of its latents: an image of
    edge R has ``[channels, R / factor, R / factor]``.
    """

    def __init__(self, model: Any, adapter: Adapter, device: str) -> None:
        self.model = model.float().eval().requires_grad_(False).to(device)
        self.adapter, config = adapter, model.config
        self.channels, self.factor = int(config.latent_channels), 2 ** (len(config[adapter.widths]) - 1)
        means, deviations = config.get("latents_mean"), config.get("latents_std")
        if (means is None) != (deviations is None):
            raise UserError(
                "the autoencoder's config.json has one of latents_mean and latents_std: both belong to it"
            )
        self.shift = torch.tensor(means if means is not None else [config.get("shift_factor") or 0.0]).view(
            -1, 1, 1
        )
        scale = (
            [1 / each for each in deviations]
            if deviations is not None
            else [config.get("scaling_factor") or 1.0]
        )
        self.scale = torch.tensor(scale).view(-1, 1, 1)
        made = [self.shift.flatten().tolist(), self.scale.flatten().tolist(), form(config)]
        self.name = f"{type(model).__name__}-{weights_digest(model.state_dict(), made)}"

    def encode(self, images: Tensor) -> Posterior:
        """Images uint8 ``[n, C, H, W]`` to means and deviations of latents, float32 ``[n, channels, H / factor, ...]``."""
        device = next(self.model.parameters()).device
        with torch.no_grad():
            mean, deviation = self.adapter.read(self.model.encode(rgb(images).to(device).float() / 127.5 - 1))
        return self.scaled(mean, deviation)

    def scaled(self, mean: Tensor, deviation: Tensor | None) -> Posterior:
        """Means and deviations ``[n, channels, h, w]`` as the encoder gives them, in the scale of latents."""
        scale, shift = self.scale.to(mean.device), self.shift.to(mean.device)
        return (mean - shift) * scale, None if deviation is None else deviation * scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to pixels 0 to 255, float32 ``[n, 3, H, W]`` on their device, not rounded."""
        if next(self.model.parameters()).device != latents.device:
            self.model.to(latents.device)
        z = latents.float() / self.scale.to(latents.device) + self.shift.to(latents.device)
        with torch.no_grad():
            pixels: Tensor = self.model.decode(z).sample
        return (pixels + 1) * 127.5


def place(where: str, spec: str = "--autoencoder ") -> Place:
    """Where an autoencoder is, and the option that names it."""
    return Place(where, spec, "autoencoder", "diffusers")


def check(there: Place) -> str:
    """The class of an autoencoder. Raises :class:`UserError` if it is absent or of a class that is not known, and without
    diffusers. Loads nothing."""
    there.check()
    kind = str(there.config().get("_class_name"))
    if kind not in ADAPTERS:
        raise UserError(f"{there.spec}{there.where}: its class is {kind!r}; {nearest(kind, ADAPTERS)}")
    if importlib.util.find_spec("diffusers") is None:
        raise UserError(f"the autoencoder {there.where} needs diffusers: `pip install 'flowbench[latents]'`")
    return kind


def load(there: Place, device: str = "cpu") -> Autoencoder:
    """The autoencoder of a place; nothing is downloaded.

    Raises :class:`UserError` as :func:`check`, and if it lacks weights.
    """
    kind = check(there)
    (model,) = there.load(kind)
    return Autoencoder(model, ADAPTERS[kind], device)
