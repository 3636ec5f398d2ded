"""How well the validation loss predicts the pictures' quality: its correlation with CLIP, FID and composition over runs.

The means of runs are noisy, so they correlate less than the true ones do, and draws of other seeds, noisy once more, less
still: percentiles of those would lie on one side of the estimate. The true means ``m_r`` behind the measured ``y_r`` (of
loss and metric) are drawn from their posterior law instead,

    y_r ~ N(m_r, N_r),    m_r ~ N(mu, T),    T = S - mean N_r,    S ~ Wishart(R - 1) about the covariance of the y_r

(empirical Bayes, Gelman et al. 2014, section 5.4). Where noise is large that may claim too much agreement; Fisher's basic
interval, ``2 z(y) - z(draws)`` with z = artanh, claims too little there. Their hull holds the true correlation in 90 % or
more of simulated tables also where a seed's noise is 0.7 of the runs' spread (percentiles of draws: a few percent), and the
measured one is at an end of it in less than a tenth: ``tests/analysis/scaling/test_scaling_correlation.py`` simulates both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from analysis.scaling.noise import Means, interval
from analysis.stats.association import Array, pearson, spearman
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

LEAST = 3
"""Runs that a correlation needs."""
Measure = Callable[[Array, Array], Array]


def table(found: dict[str, Means]) -> pd.DataFrame:
    """One row for each metric, over the means of runs: ``metric``, ``runs``, and ``spearman`` and ``pearson`` (of the
    logarithms), as measured, with the ends ``_low`` and ``_high`` of a 95 % interval of the true means' correlation, NaN
    where the noise of seeds is not known. Empty with fewer than three runs; Pearson's is NaN if a mean is not positive, and
    both are NaN where one side does not vary."""
    rows: list[dict[str, object]] = []
    loss = found["val_loss"]
    for metric in found:
        if metric == "val_loss" or len(loss.values) < LEAST:
            continue
        other = found[metric]
        row: dict[str, object] = {"metric": metric, "runs": len(loss.values)}
        for name, measure, scale in (
            ("spearman", spearman, np.asarray),
            ("pearson", pearson, np.asarray if other.log else _positive_logs),
        ):
            value, ends = float(measure(loss.values, scale(other.values))), (np.nan, np.nan)
            if loss.draws is not None and other.draws is not None and np.isfinite(value):
                measured = np.stack([loss.values, scale(other.values)], axis=-1)
                drawn = np.stack([loss.draws, scale(other.draws)], axis=-1)
                drawn = drawn[np.isfinite(drawn).all(axis=(1, 2))]
                low, high = true_ends(measure, measured, drawn)
                ends = min(low, value), max(high, value)
            row[name], row[f"{name}_low"], row[f"{name}_high"] = value, *ends
        rows.append(row)
    columns = [f"{name}{end}" for name in ("spearman", "pearson") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["metric", "runs", *columns])


def true_ends(measure: Measure, measured: Array, drawn: Array) -> tuple[float, float]:
    """The ends of the 95 % interval of a coefficient between the true means; ``measured`` ``[R, 2]`` are noisy
    values of these, as noisy as ``drawn`` ``[B, R, 2]`` about them."""
    true, top = true_means(measured, drawn), 1 - (3 * len(measured)) ** -2.0
    z, again = (np.arctanh(np.clip(measure(y[..., 0], y[..., 1]), -top, top)) for y in (measured, drawn))
    ends = *interval(measure(true[..., 0], true[..., 1])), *interval(np.tanh(2 * z - again))
    return max(-1.0, min(ends)), min(1.0, max(ends))


def true_means(measured: Array, drawn: Array, seed: int = 0) -> Array:
    """``[B, R, 2]``: true means as likely as ``measured`` ``[R, 2]`` allow, but for what all runs have in common."""
    rng, (number, runs, _) = np.random.default_rng(seed), drawn.shape
    centred, noise = measured - measured.mean(axis=0), drawn - measured
    noise = noise - noise.mean(axis=1, keepdims=True)
    own = np.einsum("bri,brj->rij", noise, noise) / number * runs / (runs - 1)
    spread = np.cov(centred.T)
    root = np.linalg.cholesky(spread + 1e-12 * np.trace(spread) * np.eye(2))
    seen = rng.standard_normal((number, runs - 1, 2)) @ root.T
    true = _positive(np.einsum("bni,bnj->bij", seen, seen) / (runs - 1) - own.mean(axis=0))[:, None]
    kept = true @ np.linalg.pinv(true + own)
    left = np.einsum("brij,brj->bri", _root(true - kept @ true), rng.standard_normal(drawn.shape))
    return np.asarray(np.einsum("brij,rj->bri", kept, centred) + left)


def _root(of: Array) -> Array:
    """A square root of symmetric matrices ``[..., 2, 2]`` without their negative part."""
    values, vectors = np.linalg.eigh(of)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None))[..., None, :])


def _positive(of: Array) -> Array:
    """Symmetric matrices without their negative part."""
    root = _root(of)
    return np.asarray(root @ np.swapaxes(root, -1, -2))


def _positive_logs(values: Array) -> Array:
    return np.log(np.where(values > 0, values, np.nan))
