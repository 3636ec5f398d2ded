"""Trains a small autoencoder: the recipe, the network and the loss (the command is :mod:`bench.autoencoder`)."""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.config.seeds import seed_for
from bench.data import Dataset, Split
from bench.pretrained.preprocessing import rgb
from flowbench._core.errors import UserError

GROUPS = 8
"""Groups of each group norm; they divide every width."""
WIDEST = 4
"""The widest level has as many times the channels of the first."""
FIRST_LOGVAR = -6.0
"""The log-variance of latents, about, before training: without it the first steps only learn to see through unit noise."""
REPORT = 100
"""Steps between two lines about the loss."""


@dataclass(frozen=True)
class AutoencoderRecipe:
    """Everything that decides the weights, apart from the data's content, torch's version and the threads.

    Attributes:
        factor: one latent stands for ``factor x factor`` pixels; a power of two.
        channels: of a latent. The study (arXiv 2403.03206, table 3) compares 4, 8 and 16.
        width: channels of the first level; each further one has twice as many, up to four times.
        kl: weighs the divergence of a latent's distribution from a standard normal one.
    """

    data: str = "shapes"
    resolution: int = 32
    train: int = 20_000
    validation: int = 2_000
    factor: int = 4
    channels: int = 4
    width: int = 16
    steps: int = 1500
    batch: int = 16
    learning_rate: float = 3e-3
    kl: float = 1e-4
    seed: int = 0


def check(recipe: AutoencoderRecipe) -> None:
    """Raise :class:`UserError` for sizes that do not divide each other, and without diffusers."""
    factor, width = recipe.factor, recipe.width
    if factor < 2 or factor & (factor - 1):
        raise UserError(f"--factor {factor}: must be a power of two, the nearest is {nearest_power(factor)}")
    if recipe.resolution % factor:
        nearest = max(1, round(recipe.resolution / factor)) * factor
        raise UserError(
            f"--resolution {recipe.resolution}: must be a multiple of --factor {factor}, the nearest is {nearest}"
        )
    if width < GROUPS or width % GROUPS:
        nearest = max(1, round(width / GROUPS)) * GROUPS
        raise UserError(f"--width {width}: must be a multiple of {GROUPS}, the nearest is {nearest}")
    if importlib.util.find_spec("diffusers") is None:
        raise UserError("an autoencoder needs diffusers: `pip install 'flowbench[latents]'`")


def nearest_power(factor: int) -> int:
    """The power of two from 2 on that is nearest to ``factor``."""
    return min((1 << k for k in range(1, 7)), key=lambda power: abs(power - factor))


def network(recipe: AutoencoderRecipe) -> Any:
    """diffusers' ``AutoencoderKL`` with weights drawn by the recipe's seed."""
    from diffusers import AutoencoderKL

    levels = recipe.factor.bit_length()
    torch.manual_seed(seed_for("autoencoder-init", recipe.seed))
    model = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(recipe.width * min(2**level, WIDEST) for level in range(levels)),
        latent_channels=recipe.channels,
        norm_num_groups=GROUPS,
        sample_size=recipe.resolution,
    )
    with torch.no_grad():
        model.quant_conv.bias[recipe.channels :] = FIRST_LOGVAR
    return model


def pixels(split: Split, rows: np.ndarray, device: torch.device) -> Tensor:
    """The images of rows in [-1, 1], float32 ``[n, 3, R, R]``."""
    stored = torch.from_numpy(np.ascontiguousarray(split.reference[rows]))
    return rgb(stored).to(device).float() / 127.5 - 1


def loss(made: Tensor, images: Tensor, mean: Tensor, logvar: Tensor, kl: float) -> Tensor:
    """Reconstruction and regularisation, both per number.

        mean |y - x| + mean (y - x)^2 + kl / 2 mean (m^2 + s^2 - 1 - ln s^2)

    ``y`` are the ``made`` images ``[n, 3, R, R]`` of latents drawn with mean ``m`` and deviation ``s``. The autoencoders of
    latent diffusion (Rombach et al. 2022, arXiv 2112.10752) have perceptual and adversarial losses in addition.
    """
    apart = made - images
    divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return apart.abs().mean() + apart.square().mean() + kl * divergence


def train(
    recipe: AutoencoderRecipe,
    dataset: Dataset,
    device: torch.device,
    report: Callable[[str], None] = print,
) -> Any:
    """The trained autoencoder; deterministic for a recipe, its data, the version of torch and the number of threads.

    AdamW; its rate rises over the first 5 % of the steps and falls as half a cosine. Raises :class:`UserError` if the loss
    is not finite, and as :func:`network`.
    """
    model = network(recipe).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    warm = max(1, recipe.steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * step / recipe.steps)))
    )
    rng = np.random.default_rng(seed_for("autoencoder-batches", recipe.seed))
    noise = torch.Generator().manual_seed(seed_for("autoencoder-noise", recipe.seed))
    started = time.perf_counter()
    for step in range(1, recipe.steps + 1):
        images = pixels(dataset.train, rng.integers(len(dataset.train), size=recipe.batch), device)
        latent = model.encode(images).latent_dist
        made = model.decode(latent.sample(noise)).sample
        value = loss(made, images, latent.mean, latent.logvar, recipe.kl)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(value)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % REPORT == 0 or step == recipe.steps:
            shown = float(value.detach())
            if not math.isfinite(shown):
                raise UserError(
                    f"the autoencoder's training diverged before step {step}: lower --learning-rate"
                )
            seconds = time.perf_counter() - started
            report(f"step {step}/{recipe.steps}  loss {shown:.4f}  {seconds:.0f} s")
    return model.eval()


def moments(model: Any, split: Split, device: torch.device, batch: int = 64) -> tuple[float, float]:
    """Mean and deviation over all numbers of latents drawn from the posterior of every image: what ``shift_factor`` and the
    inverse of ``scaling_factor`` are."""
    total, square, count = 0.0, 0.0, 0
    with torch.no_grad():
        for first in range(0, len(split), batch):
            rows = np.arange(first, min(first + batch, len(split)))
            latent = model.encode(pixels(split, rows, device)).latent_dist
            total += float(latent.mean.double().sum())
            square += float((latent.mean.double().square() + latent.var.double()).sum())
            count += latent.mean.numel()
    mean = total / count
    return mean, (square / count - mean**2) ** 0.5


def psnr(made: Tensor, images: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of each image in dB, ``10 log10(255^2 / mse)``, of uint8 ``[n, C, H, W]``. Of equal
    images it is that of one level in one number."""
    squares = (made.float() - images.float()).square().flatten(1)
    return 10 * torch.log10(255**2 / squares.mean(1).clamp(min=1 / squares.shape[1]))
