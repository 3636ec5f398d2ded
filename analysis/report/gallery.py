"""Generated images as PNG data URIs, as many as a budget of bytes allows."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from analysis.plots.samples import averaged
from analysis.runs import cell_contents, schema
from analysis.runs.run import Run
from analysis.runs.sources import Pixels
from analysis.tables.wording import count
from bench.config.sampling_settings import ControlSetting
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

BUDGET = 2_400_000
"""Bytes of HTML that all pictures may take."""
MOST_CAPTIONS, FEWEST_CAPTIONS = 8, 4
SMALLEST = 16
"""Pixels: images are not made smaller than that to find room."""
SHEET = 8
"""Formulations on a sheet."""
CARD_CAPTIONS = 6
_FRAME = 260
"""Bytes around the pixels of one picture: of the file and of its tag."""


@dataclass(frozen=True, kw_only=True)
class Setting(ControlSetting):
    """A control setting of one dataset, and the seed whose pictures are shown."""

    dataset: str
    seed: int

    @property
    def title(self) -> str:
        """In words."""
        how = f", {self.method}" if self.method else ""
        return f"{count(self.steps, 'step')}, guidance {self.cfg:g}, {self.weights} weights, seed {self.seed}{how}"


@dataclass(frozen=True)
class Picture:
    """``uri`` holds the PNG; ``caption`` is what was asked for."""

    uri: Markup
    caption: str


@dataclass(frozen=True)
class Strip:
    """A formulation's pictures of a setting, in the order of the captions; or ``real`` images of them, where there are
    some, without a formulation."""

    formulation: str
    pictures: tuple[Picture | None, ...]
    real: bool = False


@dataclass(frozen=True)
class Sheet:
    """Formulations x captions at one setting; ``size`` is the edge of a picture in its own pixels."""

    setting: Setting
    size: int
    captions: tuple[str, ...]
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Gallery:
    """``sheets`` of the best formulations and ``cards``, by formulation the sheets of one; ``why`` there is none.

    ``damaged`` are messages about files that cannot be read; their pictures are left out.
    """

    sheets: tuple[Sheet, ...] = ()
    cards: Mapping[str, tuple[Sheet, ...]] = field(default_factory=dict)
    why: str = ""
    damaged: tuple[str, ...] = ()

    @property
    def real(self) -> bool:
        """Whether real images are shown."""
        return any(strip.real for sheet in self.sheets for strip in sheet.strips)


def gallery(run: Run, order: Sequence[str]) -> Gallery:
    """The pictures of a run; ``order`` names its formulations, best first.

    Of every dataset the settings with most and with fewest steps are shown.
    """
    if not run.manifests:
        return Gallery(why="There are no pictures: the run's cells are not in the folder of its table.")
    album = _Album(run)
    captions = {dataset: cell_contents.captions(run, dataset) for dataset in run.frame["dataset"].unique()}
    shapes = {s: shape for s in settings(run) if captions[s.dataset] and (shape := album.shape(order, s))}
    if not shapes:
        return Gallery(why="There are no pictures: no cell keeps any.", damaged=tuple(album.damaged))
    channels, edge = (max(parts) for parts in zip(*shapes.values(), strict=True))
    per_sheet, per_card, edge = plan(len(order), len(shapes), channels, edge)

    def sheets(names: Sequence[str], count: int) -> tuple[Sheet, ...]:
        made = (album.sheet(names, s, captions[s.dataset][:count], edge) for s in shapes)
        return tuple(sheet for sheet in made if sheet)

    best, cards = sheets(order[:SHEET], per_sheet), {name: sheets([name], per_card) for name in order}
    best = tuple(album.with_real(sheet, edge) for sheet in best)
    return Gallery(best, cards, damaged=tuple(album.damaged))


def plan(formulations: int, settings: int, channels: int, edge: int) -> tuple[int, int, int]:
    """Captions on a sheet, captions on a card and the edge of a picture in pixels that keep within `BUDGET`.

    Pixels are counted as if they did not compress. First the cards give up captions, then all pictures their size.
    """
    while True:
        cost = (channels * edge**2 + _FRAME) * 4 / 3
        for per_card in range(CARD_CAPTIONS, FEWEST_CAPTIONS - 1, -1):
            sheets = (1 + min(formulations, SHEET)) * MOST_CAPTIONS
            if cost * settings * (sheets + formulations * per_card) <= BUDGET:
                return MOST_CAPTIONS, per_card, edge
        if edge // 2 < SMALLEST:
            room = int(BUDGET / (cost * settings)) - (1 + min(formulations, SHEET)) * FEWEST_CAPTIONS
            return FEWEST_CAPTIONS, min(max(0, room // formulations), FEWEST_CAPTIONS), edge
        edge //= 2


def settings(run: Run) -> list[Setting]:
    """Of every dataset the settings whose pictures are shown: with most and with fewest steps, EMA weights if there are, the
    guidance nearest to the study's 5, and the first seed for which most formulations are done."""
    rows = run.phase("rank").frame
    rows = rows[rows["status"] == "done"]
    return [setting for dataset in sorted(rows["dataset"].unique()) for setting in _of_dataset(rows, dataset)]


def _of_dataset(rows: pd.DataFrame, dataset: str) -> Iterator[Setting]:
    rows = rows[rows["dataset"] == dataset]
    kinds = [(c.weights, c.method) for c in schema.controls(rows)]
    rows = rows[[kind == min(kinds) for kind in kinds]]
    done = rows.groupby("seed")["formulation"].nunique()
    seed = int(done.index[int(done.to_numpy().argmax())])
    for steps in sorted({int(rows["steps"].max()), int(rows["steps"].min())}, reverse=True):
        scales = {c for c in schema.controls(rows) if c.steps == steps}
        yield Setting(**asdict(min(scales, key=lambda c: (abs(c.cfg - 5), c))), dataset=dataset, seed=seed)


class _Album:
    """The pictures of a run's files, and messages about those that cannot be read."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.damaged: dict[str, None] = {}

    def load(self, name: str, s: Setting, rows: Sequence[int]) -> Pixels | None:
        """Pictures ``[n, C, H, W]`` of some captions; None if there are none."""
        if not rows:
            return None
        try:
            return cell_contents.pictures(self.run, name, s.dataset, s.seed, s, rows)
        except UserError as error:
            self.damaged[str(error)] = None
            return None

    def shape(self, names: Sequence[str], s: Setting) -> tuple[int, int] | None:
        """Channels and longer side of a setting's pictures."""
        found = next((p for name in names if (p := self.load(name, s, [0])) is not None), None)
        return None if found is None else (found.shape[1], max(found.shape[2:]))

    def sheet(self, names: Sequence[str], s: Setting, captions: Sequence[str], edge: int) -> Sheet | None:
        """The pictures of some formulations for some captions, at most ``edge`` pixels large; None if there are none."""
        strips, size = [], 0
        for name in names:
            images = self.load(name, s, range(len(captions)))
            if images is not None:
                images = shrunk(images, edge)
                size = max(images.shape[2:])
                pairs = zip(images, captions, strict=False)
                strips.append(Strip(name, tuple(Picture(uri(image), caption) for image, caption in pairs)))
        return Sheet(s, size, tuple(captions), tuple(strips)) if strips else None

    def with_real(self, sheet: Sheet, edge: int) -> Sheet:
        """A sheet under a strip of real images of its captions, a different one wherever a caption stands again."""
        dataset, used = sheet.setting.dataset, Counter[str]()
        found: list[Picture | None] = []
        for caption in sheet.captions:
            used[caption] += 1
            images = self.run.source.real_images(dataset, caption, used[caption])
            if images is not None and len(images) == used[caption]:
                found.append(Picture(uri(shrunk(images[-1:], edge)[0]), caption))
            else:
                found.append(None)
        if not any(found):
            return sheet
        return replace(sheet, strips=(Strip("", tuple(found), real=True), *sheet.strips))


def shrunk(images: Pixels, edge: int) -> Pixels:
    """``[N, C, H, W]`` with the longer side at most ``edge``, by means over whole squares of pixels."""
    factor = -(-max(images.shape[2:]) // edge)
    return images if factor == 1 else np.moveaxis(averaged(np.moveaxis(images, 1, -1), factor), -1, 1)


def uri(image: Pixels) -> Markup:
    """``[C, H, W]`` with 1 or 3 channels as the data URI of a PNG."""
    from PIL import Image

    pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", optimize=True)
    return Markup("data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode())
