"""Precision, recall, density, coverage and CMMD, from the features that FID has: --plugin examples/more_metrics.py

Precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991) with k = 3: the share of generated images within the
distance of a held-out image to its k-th neighbour among the held-out ones, and the same with both sides exchanged.
Density and coverage (Naeem et al. 2020, arXiv 2002.09797) with k = 5: how many such balls a generated image lies in,
divided by k, and the share of held-out images whose ball has a generated one. CMMD (Jayasumana et al. 2024, arXiv
2401.09603): 1000 times the squared maximum mean discrepancy of features of length 1, with a Gaussian kernel of
deviation 10, means over all pairs.
"""

import numpy as np
from scipy.spatial.distance import cdist

from bench.metrics.metric import Drawn, Measure, Measured, Metric, register
from flowbench._core.errors import UserError

LEAST = 6
"""Images of a side, so that each has a fifth neighbour."""


ROWS = 1024
"""Rows whose distances to all others are computed at once: those of 40,504 images to each other are 13 GB."""


def blocks(features: np.ndarray) -> list[np.ndarray]:
    """The features, some rows at a time."""
    return [features[i : i + ROWS] for i in range(0, len(features), ROWS)]


def radii(features: np.ndarray, k: int) -> np.ndarray:
    """Distance of each row to its k-th neighbour among the others."""
    return np.concatenate([np.partition(cdist(part, features), k, axis=1)[:, k] for part in blocks(features)])


def neighbours(drawn: Drawn) -> Measured:
    """The four that count neighbours."""
    real, made = (np.asarray(part, np.float64) for part in (drawn.reference.features, drawn.features))
    if min(len(real), len(made)) < LEAST:
        raise UserError(
            f"precision, recall, density and coverage need at least {LEAST} images on each side, not {len(made)} generated "
            f"and {len(real)} held-out ones: choose more --samples or --validation-images"
        )
    apart = cdist(real, made)  # [held-out, generated]
    inside = apart < radii(real, 5)[:, None]
    return Measured(
        {
            "precision": float((apart < radii(real, 3)[:, None]).any(0).mean()),
            "recall": float((apart < radii(made, 3)[None]).any(1).mean()),
            "density": float(inside.sum(0).mean() / 5),
            "coverage": float(inside.any(1).mean()),
        }
    )


def discrepancy(drawn: Drawn) -> Measured:
    """CMMD."""
    real, made = (np.asarray(part, np.float64) for part in (drawn.reference.features, drawn.features))
    real, made = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (real, made))

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        sums = (np.exp(-cdist(part, y, "sqeuclidean") / (2 * 10**2)).sum() for part in blocks(x))
        return float(sum(sums) / (len(x) * len(y)))

    return Measured({"cmmd": 1000 * (kernel(real, real) + kernel(made, made) - 2 * kernel(real, made))})


@register("precision")
def precision() -> Measure:
    columns = (
        Metric(
            "precision",
            "precision",
            True,
            "share of images that lie among held-out ones",
            scale="share",
            digits=3,
        ),
        Metric(
            "recall",
            "recall",
            True,
            "share of held-out images that lie among the generated",
            scale="share",
            digits=3,
        ),
        Metric(
            "density",
            "density",
            True,
            "neighbourhoods of held-out images that an image lies in, over k",
            digits=3,
        ),
        Metric(
            "coverage",
            "coverage",
            True,
            "share of held-out images with a generated neighbour",
            scale="share",
            digits=3,
        ),
    )
    return Measure(columns, neighbours, uses=("features", "reference"))


@register("cmmd")
def cmmd() -> Measure:
    column = Metric("cmmd", "CMMD", False, "maximum mean discrepancy of features of length 1", digits=3)
    return Measure((column,), discrepancy, uses=("features", "reference"))
