"""What metrics there are: each declares once how its values are labelled, compared and written. No torch.

A run keeps the declarations it was measured with (:mod:`bench.driver.manifest`), and analysis reads labels,
directions and digits
from there; a table without a run is read by those below. How the values come about is in :mod:`bench.worker.measure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

PARTS = ("colors", "shapes", "sizes", "relation", "background", "all")
"""What is judged of a generated picture (:mod:`bench.metrics.composition`); one object has no ``relation``. ``all`` is the
conjunction of the others."""


@dataclass(frozen=True)
class Metric:
    """One metric, by the ``name`` of its column in the results table.

    A column ``NAME_stderr`` is its standard error, and ``NAME_name`` the full recipe of its values.
    """

    name: str
    label: str
    higher_is_better: bool | None
    """None: neither end is better."""
    explained: str
    """What it is, for a reader of the page."""
    long: str = ""
    """Its name where there is room for it, if that is not the label."""
    digits: int = 4
    """Significant digits of its median value."""
    scale: Literal["linear", "log", "share"] = "linear"
    """``log``: it is positive, and its noise grows with its level; ``share``: it lies between 0 and 1."""
    level: Literal["setting", "training"] = "setting"
    """Whether every control setting has a value, or every training one."""
    ranked: bool = True
    """Whether the ranking has a column of it, or only the card of a formulation."""
    per_sample: bool = False
    """Whether each image has a value that is kept, too."""
    needs: Literal["", "texts", "shapes"] = ""
    """What it cannot do without: an extractor that reads texts, or generated pictures (``shapes``, ``scenes``)."""

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Self:
        """A declaration as JSON; fields that a later version added are left out. Raises `TypeError` if it lacks some."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in kept.items() if name in known})

    @property
    def title(self) -> str:
        """Its name where there is room for it."""
        return self.long or self.label

    @property
    def direction(self) -> str:
        """``higher is better``, ``lower is better``, or nothing."""
        return "" if self.higher_is_better is None else DIRECTIONS[self.higher_is_better]


DIRECTIONS = {True: "higher is better", False: "lower is better"}

METRICS: list[Metric] = [
    Metric(
        "val_loss",
        "val loss",
        False,
        "squared error of the implied velocity at eight noise levels",
        long="validation loss",
        scale="log",
        level="training",
    ),
    Metric(
        "clip",
        "CLIP",
        True,
        "mean cosine of image and caption x 100",
        long="CLIP score",
        per_sample=True,
        needs="texts",
    ),
    Metric(
        "fid",
        "FID",
        False,
        "Fréchet distance of features to those of held-out images",
        scale="log",
        per_sample=True,
    ),
    Metric("kid", "KID", False, "kernel distance to held-out images", digits=3),
    Metric(
        "composition",
        "composition",
        True,
        "share of what the caption asks for that the picture shows",
        digits=3,
        scale="share",
        needs="shapes",
    ),
    *(
        Metric(
            f"composition_{part}",
            f"{part} right" if part != "all" else "all right",
            True,
            f"share of pictures in which {part if part != 'all' else 'everything'} is as the caption says",
            digits=3,
            scale="share",
            per_sample=True,
            needs="shapes",
        )
        for part in PARTS
    ),
    Metric(
        "path_length",
        "path length",
        None,
        "mean length of the sampling paths in rectified coordinates",
        ranked=False,
        per_sample=True,
    ),
]
"""In the order in which they are shown."""
