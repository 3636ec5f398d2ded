"""Which metrics a run measures: those shipped, and those that plugins and installed packages add. No torch.

An evaluation names the added ones by ``NAME@DIGEST``, a digest of the file that registered them
(:attr:`bench.config.experiment.Evaluation.metrics`). There is no option to choose among them: to load a plugin is to ask
for what it registers, so a plugin cannot be loaded and then not be measured. The digest is what makes that honest: edited
text has another evaluation, under which no old value stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from bench.metrics import (  # noqa: F401  (registers the names)
    clip_score,
    compositional_accuracy,
    fid,
    geneval_tasks,
    kid,
    path_length,
    val_loss,
)
from bench.metrics.metric import Measure, Metric, get, registry
from flowbench._core.errors import UserError
from flowbench._core.plugin import source_behind

if TYPE_CHECKING:
    from bench.config.experiment import Evaluation

SHIPPED = ("val_loss", "clip", "fid", "kid", "composition", "geneval", "path_length")
"""In the order in which they are shown; every evaluation has them."""
DIGITS = 8
"""Hexadecimal digits of a digest."""


def with_added(evaluation: Evaluation) -> Evaluation:
    """An evaluation that measures every registered metric. Raises :class:`UserError` for one that cannot be made."""
    names = sorted(name for name in registry.names() if name not in SHIPPED)
    found = replace(evaluation, metrics=tuple(f"{name}@{version(name)}" for name in names))
    columns(found.metrics)
    return found


def version(name: str) -> str:
    """Digest of the file that registered a metric: the plugin, or a module of an installed package."""
    return source_behind(name, registry)[:DIGITS]


def measures(added: Iterable[str] = ()) -> tuple[Measure, ...]:
    """The metrics of an evaluation: those shipped, then those ``added``.

    Raises:
        UserError: an added one that is not registered, whose file is another now, or with a column of a name or label that
            another has.
    """
    found = list(shipped())
    for each in added:
        name, _, digest = each.partition("@")
        if registry.find(name) is None:
            raise UserError(f"metric {name!r} is not registered: name its file with --plugin")
        if digest != version(name):
            raise UserError(f"the file that registers the metric {name!r} has changed: run the command again")
        found.append(replace(get(name), version=digest))
    for part in ("name", "label"):
        named: dict[str, str] = {}
        for measure in found:
            for column in measure.columns:
                text = getattr(column, part)
                if text in named:
                    raise UserError(
                        f"metrics {named[text]!r} and {measure.name!r} both have a column of {part} {text!r}"
                    )
                named[text] = measure.name
    return tuple(found)


@cache
def shipped() -> tuple[Measure, ...]:
    """The metrics that every evaluation has."""
    return tuple(map(get, SHIPPED))


def columns(added: Iterable[str] = ()) -> list[Metric]:
    """The columns of :func:`measures`, in the order in which they are shown. Raises as it does."""
    return [column for measure in measures(added) for column in measure.columns]
