"""FID: the Fréchet distance of the images' features to those of the validation images (:mod:`bench.metrics.frechet`), or to
those of a file (:mod:`bench.metrics.reference_file`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.metrics.metric import Drawn, Measure, Measured, Metric, Reference, register

if TYPE_CHECKING:
    from torch import Tensor

    from bench.metrics.frechet import Moments


@register("fid")
def fid() -> Measure:
    """Fréchet distance to the validation images."""
    column = Metric(
        "fid",
        "FID",
        False,
        "Fréchet distance of features to those of held-out images",
        scale="log",
        per_sample=True,
    )
    return Measure((column,), measured, uses=("features", "reference"), moments=True)


def measured(drawn: Drawn) -> Measured:
    """The distance, and as values of samples their influence on it, there only if n is large enough for them."""
    from bench.metrics.influence import influence

    moved = influence(drawn.features, drawn.reference.once(moments))
    values: dict[str, float | None] = {"fid": distance(drawn.features, drawn.reference)}
    return Measured(values) if moved is None else Measured(values, {"fid": moved})


def distance(features: Tensor, reference: Reference) -> float:
    """The distance of features ``[n, D]`` to the reference."""
    from bench.metrics.frechet import Moments, frechet

    return frechet(Moments.of(features), reference.once(moments))


def moments(reference: Reference) -> Moments:
    """The moments of the reference's features, or those of the run's file."""
    from bench.metrics.frechet import Moments

    if reference.given:
        return reference.given.moments
    return Moments.of(reference.features)
