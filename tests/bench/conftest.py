"""A small real setup: shapes, the shipped text encoder, a tiny model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.config import Cell, Evaluation, Grid, Images, Model, Training
from bench.setup import Setup, make

CPU = torch.device("cpu")

TINY = Grid(
    formulations=("rf/lognorm(0,1)", "eps/linear", "edm(-1.2,1.2)"),
    model=Model(depth=1, width=32, heads=2, patch=4),
    images=Images(resolution=16, train=96, validation=48),
    training=Training(steps=12, batch=8, warmup=2, lr=3e-3, validations=3, validation_images=16),
    evaluation=Evaluation(settings=((4, 1.0), (2, 5.0)), samples=12, weights=("ema", "raw")),
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Many small products: threads only cost, and one thread is bit-reproducible."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def usual_products() -> Iterator[None]:
    """A command lets oneDNN multiply from then on; every test begins and ends with torch's own choice."""
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def grid() -> Grid:
    return TINY


@pytest.fixture(scope="session")
def setup() -> Setup:
    return make("shapes", TINY, CPU)


@pytest.fixture
def cell() -> Cell:
    return Cell("rf", "shapes", 0, TINY.model, TINY.images, TINY.training)
