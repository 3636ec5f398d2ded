"""The conformance check that a metric must pass before it measures a run: on a few real images, and on noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bench.config.seeds import seed_for
from bench.metrics.metric import Drawn, Measure, Measured, Metric, Reference, get
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame

if TYPE_CHECKING:
    import torch

    from bench import data as data_sets
    from bench import encoders
else:
    torch, data_sets, encoders = lazy("torch"), lazy("bench.data"), lazy("bench.encoders")

DATASETS = ("shapes", "digits")
"""Of three channels and of one."""
IMAGES, HELD = 32, 64
"""Images that are measured, and those of the reference."""


def check(name: str) -> list[str]:
    """Measure real images and noise; returns one line per passed check.

    Checked: only declared columns, values of samples of shape ``[n]``, the same values again, no dependence on captions,
    features or reference without declaring it in ``uses``, and each column that has a direction is better for real images
    than for noise.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin name file and line.
    """
    measure = get(name)
    if measure.compute is None:
        return ["values: left by training"]
    passed = []
    with blame(f"metric {name!r}"):
        for dataset in DATASETS:
            real, noise = examples(dataset)
            found = measure.of(real)
            if not same(found, measure.of(real)):
                raise _fail(measure, f"it gives other values for the same images of {dataset}")
            for use, changed in changes(real):
                if use not in measure.uses and not same(found, measure.of(changed)):
                    raise _fail(measure, f"its values depend on the {use}: declare it, uses=({use!r},)")
            if not any(value is not None for value in found.values.values()):
                passed.append(f"{dataset}: no values")
                continue
            directed = _directions(measure, dataset, found, measure.of(noise))
            passed.append(f"{dataset}: declared columns, the same again{directed}")
    return passed


def examples(dataset: str) -> tuple[Drawn, Drawn]:
    """Real training images of a dataset, and uniform noise with the same captions."""
    data, model = data_sets.load(dataset, train=IMAGES, validation=HELD), encoders.extractor("tinyclip")
    reference = Reference(data, model, encoders.features(model, data.validation.reference))
    captions = data.train.captions[:IMAGES]
    shape = data.train.reference.shape
    rng = np.random.default_rng(seed_for("metric check", dataset))
    lengths, texts = torch.linspace(1, 2, shape[0]), encoders.text_features(model, captions)

    def drawn(images: np.ndarray) -> Drawn:
        found = torch.from_numpy(images)
        return Drawn(found, captions, encoders.features(model, found), texts, lengths, reference)

    return drawn(data.train.reference[np.arange(shape[0])]), drawn(rng.integers(0, 256, shape, np.uint8))


def changes(drawn: Drawn) -> Iterator[tuple[str, Drawn]]:
    """The same images with other captions, other features, and another reference, each by what it changes."""
    assert drawn.texts is not None
    captions = [*drawn.captions[1:], drawn.captions[0]]
    yield "captions", replace(drawn, captions=captions, texts=drawn.texts.roll(-1, 0))
    yield "features", replace(drawn, features=drawn.features.flip(1))
    held = drawn.reference
    data = replace(held.data, validation=held.data.train)
    yield "reference", replace(drawn, reference=Reference(data, held.extractor, drawn.features))


def same(one: Measured, other: Measured) -> bool:
    """Whether two measurements agree in every value."""
    samples = one.per_sample.keys() == other.per_sample.keys()
    return (
        one.values == other.values
        and samples
        and all(np.array_equal(v, other.per_sample[k], equal_nan=True) for k, v in one.per_sample.items())
    )


def _directions(measure: Measure, dataset: str, real: Measured, noise: Measured) -> str:
    """The columns that are better for real images, as the end of a line. Raises :class:`UserError` for one that is not."""
    better = []
    for column in measure.columns:
        a, b = real.values.get(column.name), noise.values.get(column.name)
        if column.higher_is_better is None or a is None:
            continue
        if b is not None and not _better(column, a, b):
            raise _fail(
                measure,
                f"{column.name} is declared as {column.direction}, and is {a:g} for real images of {dataset}, "
                f"{b:g} for noise",
            )
        better.append(column.name)
    return f", better than noise: {', '.join(better)}" if better else ""


def _better(column: Metric, a: float, b: float) -> bool:
    return a > b if column.higher_is_better else a < b


def _fail(measure: Measure, what: str) -> UserError:
    return UserError(f"metric {measure.name!r} fails its check: {what}")
