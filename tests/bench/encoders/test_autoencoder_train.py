"""The training of a small autoencoder: its loss, its sizes, and the moments of its latents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torchmetrics.functional.image import peak_signal_noise_ratio

from bench import data
from bench.encoders import autoencoder_train
from bench.encoders.autoencoder_train import AutoencoderRecipe
from flowbench._core.errors import UserError

SMALL = AutoencoderRecipe(resolution=16, width=8, factor=2, steps=2, batch=4)
CPU = torch.device("cpu")


def test_the_loss_is_reconstruction_and_divergence() -> None:
    draw = torch.Generator().manual_seed(0)
    made, images = torch.randn(2, 4, 3, 8, 8, generator=draw)
    mean, logvar = torch.randn(2, 4, 2, 4, 4, generator=draw)
    found = autoencoder_train.loss(made, images, mean, logvar, 0.3)
    apart = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).mean()
    l1, l2 = torch.nn.functional.l1_loss(made, images), torch.nn.functional.mse_loss(made, images)
    torch.testing.assert_close(found, l1 + l2 + 0.3 * apart)


def test_psnr_is_that_of_torchmetrics() -> None:
    images = torch.randint(0, 256, (2, 5, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )
    made, real = images
    found = autoencoder_train.psnr(made, real)
    theirs = [
        peak_signal_noise_ratio(a[None].double(), b[None].double(), data_range=255.0)
        for a, b in zip(made, real, strict=True)
    ]
    torch.testing.assert_close(found.double(), torch.stack(theirs))
    one = real.clone()
    one[:, 0, 0, 0] ^= 1
    torch.testing.assert_close(autoencoder_train.psnr(real, real), autoencoder_train.psnr(one, real))


@pytest.mark.parametrize(("factor", "channels"), [(2, 3), (4, 8), (8, 16)])
def test_latents_have_the_size_of_the_recipe(factor: int, channels: int) -> None:
    model = autoencoder_train.network(replace(SMALL, factor=factor, channels=channels))
    with torch.no_grad():
        latents = model.encode(torch.zeros(2, 3, 16, 16)).latent_dist.mean
    assert latents.shape == (2, channels, 16 // factor, 16 // factor)


def test_moments_are_those_of_drawn_latents() -> None:
    dataset = data.load("shapes", resolution=16, train=30, validation=8)
    model = autoencoder_train.train(replace(SMALL, learning_rate=1e-9), dataset, CPU, lambda line: None)
    mean, deviation = autoencoder_train.moments(model, dataset.train, CPU, batch=7)
    images = autoencoder_train.pixels(dataset.train, np.arange(30), CPU)
    with torch.no_grad():
        latents = model.encode(images).latent_dist
        drawn = torch.stack([latents.sample(torch.Generator().manual_seed(i)) for i in range(200)])
    assert mean == pytest.approx(float(drawn.mean()), abs=0.01)
    assert deviation == pytest.approx(float(drawn.std()), rel=0.01)


def test_a_training_that_diverges_is_a_sentence() -> None:
    dataset = data.load("shapes", resolution=16, train=30, validation=8)
    with pytest.raises(UserError, match="diverged before step 2: lower --learning-rate"):
        autoencoder_train.train(replace(SMALL, kl=float("inf")), dataset, CPU, lambda line: None)
