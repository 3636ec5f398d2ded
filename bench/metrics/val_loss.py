"""The validation loss, which training leaves (:mod:`bench.training.train`)."""

from __future__ import annotations

from bench.metrics.metric import Measure, Metric, register


@register("val_loss")
def val_loss() -> Measure:
    """Squared error of the implied velocity, comparable between formulations."""
    column = Metric(
        "val_loss",
        "val loss",
        False,
        "squared error of the implied velocity at eight noise levels",
        long="validation loss",
        scale="log",
        level="training",
    )
    return Measure((column,))
