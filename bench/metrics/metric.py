"""The contract of metrics: what a metric declares, from what its values are computed, and the registry. No torch.

    @register("brightness")
    def brightness() -> Measure:
        return Measure((Metric("brightness", "brightness", None, "mean of all pixels"),), mean_of_pixels)

A measure is one computation with the columns that it fills; most have one. It lies in one file, here or in a plugin: plans,
tables and the page read labels and directions from its columns, which every run keeps (:mod:`bench.runfolder.manifest`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from flowbench._core.errors import UserError
from flowbench._core.registry import Registry, blame

if TYPE_CHECKING:
    from torch import Tensor

    from bench.data import Dataset
    from bench.encoders import Extractor
    from bench.metrics.reference_file import Given

T = TypeVar("T")
DIRECTIONS = {True: "higher is better", False: "lower is better"}


@dataclass(frozen=True)
class Metric:
    """One column of the results table.

    A column ``NAME_stderr`` is its standard error, and ``NAME_name`` the full recipe of its values. Raises
    :class:`UserError` for a name that is no lower-case identifier.
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

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or self.name.endswith(("_stderr", "_name")):
            raise UserError(
                f"metric {self.name!r}: choose lower-case letters, digits and underscores, without _stderr and _name "
                f"at the end, for example 'brightness'"
            )

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


@dataclass(frozen=True, eq=False)
class Reference:
    """What the generated images of a dataset are compared with, the same for all cells: its ``data`` and the ``features``
    ``[N, D]`` of the validation images by the run's ``extractor``; and for measures of ``moments`` those of a file, if the
    run has one."""

    data: Dataset
    extractor: Extractor
    features: Tensor
    given: Given | None = None
    _kept: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)
    _lock: Any = field(default_factory=RLock, init=False, repr=False)

    def once(self, make: Callable[[Reference], T]) -> T:
        """``make(reference)``, computed at the first call and kept: what every measurement needs of the reference."""
        with self._lock:
            if make not in self._kept:
                self._kept[make] = make(self)
            found: T = self._kept[make]
            return found


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images uint8 ``[n, C, H, W]`` (``C`` 1 or 3) drawn for ``captions``, and their ``features [n, D]``. All tensors are on
    the CPU.

    ``texts [n, D]`` are the captions' features, None of an extractor that reads no texts; ``path_length [n]`` is how far
    each sample has come (:mod:`bench.sampling.generate`), None for real images.
    """

    images: Tensor
    captions: Sequence[str]
    features: Tensor
    texts: Tensor | None
    path_length: Tensor | None
    reference: Reference


@dataclass(frozen=True)
class Measured:
    """Values by column, None where there is none, and values of each image ``[n]`` by column for paired intervals."""

    values: dict[str, float | None]
    per_sample: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    @classmethod
    def means(cls, **per_sample: Any) -> Self:
        """Columns whose values are the means of a value for each image ``[n]``, None if one is not finite."""
        found = {name: np.asarray(each) for name, each in per_sample.items()}
        return cls({name: finite(each.mean(dtype=np.float64)) for name, each in found.items()}, found)


def finite(value: Any) -> float | None:
    """A number as float, None if it is none or not finite."""
    return float(value) if value is not None and math.isfinite(value) else None


Use = Literal["captions", "features", "reference"]


@dataclass(frozen=True)
class Measure:
    """A computation and the ``columns`` it fills; the first has the name under which it is registered.

    ``uses`` lists what the values depend on besides images and path lengths; their full name has a recipe accordingly
    (:mod:`bench.metrics.names`). Without ``compute`` training leaves the values.
    """

    columns: tuple[Metric, ...]
    compute: Callable[[Drawn], Measured] | None = None
    uses: tuple[Use, ...] = ()
    version: str = ""
    """Digest of the file that registered it; none for those shipped."""
    moments: bool = False
    """Whether all that it needs of the reference are moments of features, so that ``--reference FILE`` can have others."""

    @property
    def name(self) -> str:
        """Under which it is registered."""
        return self.columns[0].name

    def of(self, drawn: Drawn) -> Measured:
        """The values of drawn images; numbers that are not finite become None.

        Raises:
            UserError: an error inside a plugin, with file and line; a value that no column declares; values of samples
                that are not ``[n]``.
        """
        if self.compute is None:
            return Measured({})
        with blame(f"metric {self.name!r}") if self.version else nullcontext():
            found = self.compute(drawn)
            if not isinstance(found, Measured):
                raise UserError(f"metric {self.name!r} returned {type(found).__name__}, not Measured")
            values = {name: finite(value) for name, value in found.values.items()}
        declared = {column.name for column in self.columns}
        for name in values:
            if name.removesuffix("_stderr") not in declared:
                raise UserError(f"metric {self.name!r} measured {name!r}, which none of its columns declares")
        kept = {column.name for column in self.columns if column.per_sample}
        for name, each in found.per_sample.items():
            if name not in kept:
                raise UserError(
                    f"metric {self.name!r} has values of samples for {name!r}, which no column declares with per_sample=True"
                )
            if each.shape != (len(drawn.images),):
                raise UserError(
                    f"metric {self.name!r}: {name!r} has values of shape {list(each.shape)} for {len(drawn.images)} images"
                )
        return Measured(values, found.per_sample)


registry: Registry[Measure] = Registry("metric")


def register(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that adds a metric: ``@register("brightness")`` on a function that returns its :class:`Measure`.

    Raises:
        UserError: a malformed or existing name.
    """
    return registry.register(name)


def get(name: str) -> Measure:
    """The metric that is registered under a name.

    Raises:
        UserError: an unknown name (with the nearest ones), or a function that returns something else.
    """
    entry = registry[name]
    with blame(f"metric {name!r}"):
        made = entry.function(*entry.complete((), name))
        if not isinstance(made, Measure) or not made.columns:
            raise UserError(f"metric {name!r} returned {type(made).__name__}, not a Measure with columns")
    if made.name != name:
        raise UserError(f"metric {name!r}: its first column is {made.name!r}, name it {name!r}")
    return made
