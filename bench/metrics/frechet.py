"""Frechet distance between two sets of features, from moments that are accumulated batch by batch.

With features ``x ~ (m1, S1)`` and ``y ~ (m2, S2)`` (Heusel et al. 2017, arXiv 1706.08500, Eq. 6; Dowson &
Landau 1982):

    d = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S2^1/2 S1 S2^1/2)^1/2

The symmetric form has a symmetric positive semi-definite matrix under the root, so two symmetric
eigendecompositions in float64 give the trace; no general matrix root (`scipy.linalg.sqrtm`), no complex
numbers, and no offset on the diagonal for rank-deficient covariances (fewer images than dimensions). One of the
two is of the reference, which keeps its root.

The value falls with the number of images (its bias is positive and differs between models), so only values
with equal ``n`` are comparable: the metric's name carries ``n`` (`bench.metrics.names`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.metrics.features import Rows, as_rows


@dataclass(frozen=True, eq=False)
class Moments:
    """First two moments of feature rows, in float64.

    ``n`` rows, their ``mean`` ``[D]`` and ``scatter = sum_i (x_i - mean)(x_i - mean)^T`` ``[D, D]``. The
    scatter is kept about the mean, not about zero: a plain sum of outer products loses digits where the mean
    is large against the spread.
    """

    n: int
    mean: Rows
    scatter: Rows

    @classmethod
    def empty(cls, dim: int) -> Moments:
        """No rows yet."""
        return cls(0, np.zeros(dim), np.zeros((dim, dim)))

    @classmethod
    def of(cls, features: Any) -> Moments:
        """The moments of one batch ``[N, D]``."""
        rows = as_rows(features)
        if not len(rows):
            return cls.empty(rows.shape[1])
        mean = rows.mean(axis=0)
        with np.errstate(invalid="ignore"):  # an infinite feature becomes NaN, and so does the distance
            centred = torch.from_numpy(rows - mean)
            # by torch's threads, here and below: numpy's would fight them over the cores
            return cls(len(rows), mean, (centred.T @ centred).numpy())

    def update(self, features: Any) -> Moments:
        """These moments with a further batch ``[N, D]``; the split into batches changes only the rounding."""
        return self.merge(Moments.of(features))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of rows together (Chan, Golub & LeVeque 1983, Eq. 2.1)."""
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"moments of {len(self.mean)} and {len(other.mean)} dimensions cannot be merged")
        if not (self.n and other.n):
            return self if self.n else other
        n = self.n + other.n
        step = other.mean - self.mean
        between = np.outer(step, step) * (self.n * other.n / n)
        return Moments(n, self.mean + step * (other.n / n), self.scatter + other.scatter + between)

    @property
    def cov(self) -> Rows:
        """Unbiased covariance ``scatter / (n - 1)`` ``[D, D]``; ``ValueError`` below two rows."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 rows, not {self.n}")
        return self.scatter / (self.n - 1)

    @cached_property
    def root(self) -> Tensor:
        """Symmetric square root of the covariance ``[D, D]``, kept for the next distance to the same reference."""
        values, vectors = torch.linalg.eigh(torch.from_numpy(self.cov))
        root: Tensor = (vectors * positive(values).sqrt()) @ vectors.T
        return root

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """As named arrays, for safetensors; `from_arrays` is the inverse."""
        return {"n": np.array([self.n], dtype=np.int64), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Moments:
        """Moments from the arrays that `arrays` gave; ``ValueError`` if they are none."""
        try:
            n = int(np.asarray(arrays["n"]).item())
            mean = np.asarray(arrays["mean"], dtype=np.float64)
            scatter = np.asarray(arrays["scatter"], dtype=np.float64)
        except KeyError as error:
            raise ValueError(f"stored moments lack {error}") from None
        if mean.ndim != 1 or scatter.shape != (len(mean), len(mean)) or n < 0:
            raise ValueError(f"stored moments have the shapes {mean.shape} and {scatter.shape}, n = {n}")
        return cls(n, mean, scatter)


def frechet(m1: Moments, m2: Moments) -> float:
    """Squared Frechet distance ``d`` of the module's formula, in squared units of the features; never
    negative. ``m2`` is the reference; the distance is symmetric, but its cost is not.

    NaN if a feature was not finite. Raises ``ValueError`` for fewer than two rows or differing dimensions.
    """
    if m1.mean.shape != m2.mean.shape:
        raise ValueError(f"features of {len(m1.mean)} and {len(m2.mean)} dimensions cannot be compared")
    s1, s2 = torch.from_numpy(m1.cov), torch.from_numpy(m2.cov)
    if not (
        np.isfinite(m1.mean).all()
        and np.isfinite(m2.mean).all()
        and s1.isfinite().all()
        and s2.isfinite().all()
    ):
        return float("nan")
    cross = positive(torch.linalg.eigvalsh(m2.root @ s1 @ m2.root)).sqrt().sum()
    gap = m1.mean - m2.mean
    return max(0.0, float(gap @ gap + s1.trace() + s2.trace() - 2 * cross))


def positive(values: Tensor) -> Tensor:
    """Eigenvalues with those inside the rounding error of the largest set to 0.

    The square root would lift them from 1e-16 to 1e-8 of the largest, times the rank deficiency.
    """
    floor = len(values) * torch.finfo(torch.float64).eps * values.abs().max()
    return torch.where(values > floor, values, 0.0)
