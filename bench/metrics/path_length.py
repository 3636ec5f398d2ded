"""How far samples come: the length of their paths, as sampling found it (:mod:`bench.sampling.generate`)."""

from __future__ import annotations

from bench.metrics.metric import Drawn, Measure, Measured, Metric, register


@register("path_length")
def path_length() -> Measure:
    """Mean length of the sampling paths."""
    column = Metric(
        "path_length",
        "path length",
        None,
        "mean length of the sampling paths in rectified coordinates",
        ranked=False,
        per_sample=True,
    )
    return Measure((column,), lengths)


def lengths(drawn: Drawn) -> Measured:
    """The lengths as they are; real images have none, and the mean is None if one is not finite."""
    return Measured({}) if drawn.path_length is None else Measured.means(path_length=drawn.path_length)
