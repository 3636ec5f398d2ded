"""Distances of features ``[N, D]`` as clean-fid, torch-fidelity and torchmetrics compute them. Nothing is downloaded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flowbench._core.errors import UserError
from flowbench._core.lazy import needed

TOLERANCE = 1e-3
"""Largest relative difference between two libraries that compute the same."""
Distance = Callable[[], float]
"""A distance of features to precomputed statistics of a reference, where the library has such."""


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference between numbers of one shape as a share of the largest of theirs; NaN if one is."""
    mine, other = np.atleast_1d(np.asarray(ours, float)), np.atleast_1d(np.asarray(theirs, float))
    return float(np.abs(mine - other).max() / np.abs(other).max())


def cleanfid_distance(images: Tensor, reference: Tensor) -> Distance:
    """clean-fid's Fréchet distance, as its ``fid_folder`` computes it: SciPy's matrix root."""
    from cleanfid.fid import frechet_distance

    def statistics(rows: Any) -> tuple[Any, Any]:
        return np.mean(rows, axis=0), np.cov(rows, rowvar=False)

    known, given = statistics(reference.numpy()), images.numpy()

    def distance() -> float:
        try:
            return float(frechet_distance(*statistics(given), *known))
        except TypeError as error:  # it calls sqrtm with an argument that SciPy 1.18 removes
            raise UserError(f"clean-fid cannot use this SciPy ({error}): install scipy<1.18") from None

    return distance


def fidelity_distance(images: Tensor, reference: Tensor) -> Distance:
    """torch-fidelity's: eigenvalues of the product of covariances."""
    with needed("torch-fidelity"):
        from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    known = fid_features_to_statistics(reference)

    def distance() -> float:
        found = fid_statistics_to_metric(fid_features_to_statistics(images), known, False)
        return float(found["frechet_inception_distance"])

    return distance


def torchmetrics_distance(images: Tensor, reference: Tensor) -> Distance:
    """torchmetrics': eigenvalues of the product, covariances from sums about zero."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    def distance() -> float:
        made = FrechetInceptionDistance(feature=as_they_are(images.shape[1]))
        made.update(reference, real=True)
        made.update(images, real=False)
        return float(made.compute())

    return distance


FRECHET = {
    "clean-fid": cleanfid_distance,
    "torch-fidelity": fidelity_distance,
    "torchmetrics": torchmetrics_distance,
}
"""Fréchet distances by library."""


def cleanfid_kernel(images: Tensor, reference: Tensor, subsets: int, size: int) -> float:
    """clean-fid's kernel distance: the mean over random subsets."""
    from cleanfid.fid import kernel_distance

    with seeded():
        return float(kernel_distance(reference.numpy(), images.numpy(), subsets, size))


def fidelity_kernel(images: Tensor, reference: Tensor, subsets: int, size: int) -> float:
    """torch-fidelity's."""
    with needed("torch-fidelity"):
        from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric
    options = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": 0, "verbose": False}
    return float(kid_features_to_metric(images, reference, **options)[KEY_METRIC_KID_MEAN])


def torchmetrics_kernel(images: Tensor, reference: Tensor, subsets: int, size: int) -> float:
    """torchmetrics'."""
    from torchmetrics.image.kid import KernelInceptionDistance

    with seeded(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it keeps all features in memory
        made = KernelInceptionDistance(as_they_are(images.shape[1]), subsets, size)
        made.update(reference, real=True)
        made.update(images, real=False)
        return float(made.compute()[0])


KERNEL = {
    "clean-fid": cleanfid_kernel,
    "torch-fidelity": fidelity_kernel,
    "torchmetrics": torchmetrics_kernel,
}
"""Kernel distances by library: means over ``subsets`` random subsets of ``size`` images of each side."""


def fidelity_neighbours(images: Tensor, reference: Tensor) -> dict[str, float]:
    """torch-fidelity's precision and recall with three neighbours."""
    with needed("torch-fidelity"):
        from torch_fidelity.metric_prc import prc_features_to_metric
    options = {"prc_neighborhood": 3, "prc_batch_size": 10_000, "save_cpu_ram": False, "verbose": False}
    found: dict[str, float] = prc_features_to_metric(images, reference, **options)
    return found


def as_they_are(dim: int) -> nn.Module:
    """A network for torchmetrics that takes features for images."""
    made = nn.Identity()
    made.num_features = dim  # type: ignore[assignment]
    return made


@contextmanager
def seeded() -> Iterator[None]:
    """Within the block the global random numbers of NumPy and torch, which libraries draw, are the same each time."""
    before = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        try:
            yield
        finally:
            np.random.set_state(before)  # noqa: NPY002
