"""The sample sheet: pictures of the best formulations, captions and numbers of sampling steps side by side."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.plots import files, legends, widths
from analysis.plots.captions import sentences
from analysis.plots.style import Drawn
from analysis.plots.subject import Subject, ladders
from analysis.runs import cell_contents
from analysis.tables.wording import count
from bench.config.sampling_settings import ControlSetting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Pixels = NDArray[np.uint8]
ROWS, STEPS = 12, 5
"""The most formulations and the most numbers of steps that are shown."""
LARGEST, TALLEST = 0.9, 7.5
"""Width of a picture and height of all, inches, if there is room."""
TEXT = 7.5
"""Font size, points: legible where a page shows the sheet at 830 pixels."""
REAL = "real images"


def draw(subject: Subject) -> Drawn:
    """The first dataset and seed that have pictures."""
    settings = _settings(subject)
    most = 2 * widths.across(subject.width) - (len(settings) > 3)
    for dataset, seed in itertools.product(subject.datasets, subject.seeds):
        every = cell_contents.captions(subject.run, dataset)
        wanted = [every.index(caption) for caption in dict.fromkeys(every)][:most]
        shown, lost = _of_all(subject, dataset, seed, settings, wanted)
        if shown:
            break
    else:
        raise subject.absent("pictures")
    captions = [every[i] for i in wanted][: min(len(part) for part in shown.values())]
    rows = {name: part[: len(captions)] for name, part in shown.items()}
    real = _real(subject, dataset, captions, next(iter(rows.values())))
    if real is not None:
        rows = {REAL: real, **rows}
    figure = _sheet(rows, captions, settings, subject.width)
    caption = sentences(
        f"Samples on {dataset}, seed {seed}, {settings[0].kind}, guidance {settings[0].cfg:g}; the numbers of sampling",
        "steps stand above the columns.",
        "First row: real images with the same captions, as many as there are." if real is not None else "",
        f"{len(shown)} of {count(len(subject.order), 'formulation')}, best on top; the",
        f"captions are the first {len(captions)} that differ, not chosen by eye.",
        subject.left_out(lost),
    )
    return Drawn("samples", f"Samples on {dataset}", caption, figure)


def _of_all(
    subject: Subject, dataset: str, seed: int, settings: list[ControlSetting], wanted: list[int]
) -> tuple[dict[str, Pixels], dict[str, str]]:
    """Pictures ``[captions, steps, H, W, 3]`` of the best formulations that have them, and why better ones are left out."""
    shown: dict[str, Pixels] = {}
    lost: dict[str, str] = {}
    for name in subject.order:
        found = (
            cell_contents.pictures(subject.run, name, dataset, seed, setting, wanted) for setting in settings
        )
        there = list(itertools.takewhile(lambda images: images is not None and len(images), found))
        if len(there) == len(settings):
            shown[name] = np.stack([_colours(images) for images in there if images is not None], axis=1)
        else:
            lost[name] = subject.dead.get(name, "no pictures")
        if len(shown) == ROWS:
            break
    return shown, lost


def _settings(subject: Subject) -> list[ControlSetting]:
    """Guidance 5, or the one with most numbers of steps; by steps, at most `STEPS` of them with the first and the last."""
    found = ladders(subject.settings)
    rungs = next((rungs for rungs in found if rungs[0].cfg == 5), found[0])
    if len(rungs) > STEPS:
        rungs = [rungs[round(i * (len(rungs) - 1) / (STEPS - 1))] for i in range(STEPS)]
    return rungs


def _real(subject: Subject, dataset: str, captions: list[str], like: Pixels) -> Pixels | None:
    """Real images for the captions as a row like the others ``[captions, steps, H, W, 4]``, clear where there are no more;
    None if the run keeps none of that size."""
    row = np.zeros((*like.shape[:-1], 4), dtype=np.uint8)
    for i, caption in enumerate(captions):
        found = subject.run.source.real_images(dataset, caption, like.shape[1])
        if found is not None and found.shape[2:] == like.shape[2:4]:
            row[i, : len(found), ..., :3], row[i, : len(found), ..., 3] = _colours(found), 255
    return row if row.any() else None


def _colours(images: Pixels) -> Pixels:
    """``[N, C, H, W]`` as ``[N, H, W, 3]``."""
    pixels = images.transpose(0, 2, 3, 1)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels[..., :3]


def _sheet(
    rows: dict[str, Pixels], captions: list[str], settings: list[ControlSetting], width: float
) -> Figure:
    """Names, captions and numbers of steps around one image of all pictures, whose pixels are whole pixels of the PNG."""
    from matplotlib.figure import Figure

    names = [widths.shown(name, widths.alongside(width)) for name in rows]
    label = max(legends.text_width(name, TEXT) for name in (*names, "sampling steps")) / 72 + 0.12
    room = (width - label - 0.04) * files.DPI
    sheet, left, (tall, side) = mosaic(list(rows.values()), room)
    fit = min(room / sheet.shape[1], LARGEST * files.DPI / side, TALLEST * files.DPI / sheet.shape[0])
    zoom = max(1, int(fit))
    columns = len(settings)
    texts = [_wrapped(caption, zoom * (left[columns - 1] + side) / files.DPI) for caption in captions]
    head = 0.26 + 0.15 * max(text.count("\n") + 1 for text in texts)
    around = [round(files.DPI * inches) for inches in (label, 0.04, head, 0.04)]  # left, right, above, below
    high, wide = (zoom * n for n in sheet.shape[:2])
    whole = (around[0] + wide + around[1], around[2] + high + around[3])
    figure = Figure(figsize=(whole[0] / files.DPI, whole[1] / files.DPI))
    place = (around[0] / whole[0], around[3] / whole[1], wide / whole[0], high / whole[1])
    axes = figure.add_axes(place, xlim=(0, sheet.shape[1]), ylim=(sheet.shape[0], 0))
    axes.imshow(sheet, interpolation="none", aspect="auto", extent=(0, sheet.shape[1], sheet.shape[0], 0))
    axes.axis("off")
    inch = files.DPI / zoom
    pitch = (sheet.shape[0] - tall) / max(len(names) - 1, 1)
    look: dict[str, Any] = {"fontsize": TEXT, "linespacing": 1.1}
    for row, name in enumerate(names):
        axes.text(-0.06 * inch, row * pitch + tall / 2, name, ha="right", va="center", **look)
    headings = _headings(settings, zoom * side / files.DPI)
    if headings[0].isdigit():
        axes.text(-0.06 * inch, -0.05 * inch, "sampling steps", ha="right", va="baseline", **look)
    for i, x in enumerate(left):
        axes.text(x + side / 2, -0.05 * inch, headings[i % columns], ha="center", va="baseline", **look)
    for i, text in enumerate(texts):
        middle = (left[i * columns] + left[(i + 1) * columns - 1] + side) / 2
        axes.text(middle, -0.22 * inch, text, ha="center", va="baseline", **look)
    return figure


def _headings(settings: list[ControlSetting], inches: float) -> list[str]:
    """``5 steps``, or the numbers alone where a column is too narrow for the word."""
    words = [count(s.steps, "step") for s in settings]
    fit = all(legends.text_width(word, TEXT) <= 72 * inches for word in words)
    return words if fit else [str(s.steps) for s in settings]


def mosaic(pictures: list[Pixels], room: float) -> tuple[Pixels, list[int], tuple[int, int]]:
    """One image with transparent gaps of pictures ``[captions, steps, H, W, 3 or 4]``, a row for each entry of the list.

    Also where its columns begin, and the height and width of a picture. Squares of pixels are averaged if the image
    would be wider than ``room``.
    """
    captions, steps = pictures[0].shape[:2]
    factor = -(-captions * steps * pictures[0].shape[3] * 11 // int(10 * room))
    pictures = [averaged(part, factor) for part in pictures] if factor > 1 else pictures
    tall, side = pictures[0].shape[2:4]
    gap, wide_gap = max(1, side // 16), max(2, side // 5)
    left = [(c * steps + s) * (side + gap) + c * wide_gap for c in range(captions) for s in range(steps)]
    sheet = np.zeros((len(pictures) * (tall + gap) - gap, left[-1] + side, 4), dtype=np.uint8)
    for row, part in enumerate(pictures):
        for x, picture in zip(left, part.reshape(-1, *part.shape[2:]), strict=True):
            place = sheet[row * (tall + gap) : row * (tall + gap) + tall, x : x + side]
            place[..., :3] = picture[..., :3]
            place[..., 3] = picture[..., 3] if picture.shape[-1] == 4 else 255
    return sheet, left, (tall, side)


def averaged(images: Pixels, factor: int) -> Pixels:
    """Images ``[..., H, W, C]`` with means over whole squares of ``factor`` pixels."""
    *batch, tall, side, channels = images.shape
    tall, side = tall // factor, side // factor
    squares = images[..., : tall * factor, : side * factor, :]
    squares = squares.reshape(*batch, tall, factor, side, factor, channels)
    return np.asarray(squares.mean(axis=(-4, -2)).round(), dtype=np.uint8)


def _wrapped(caption: str, inches: float) -> str:
    """At most three lines that fit in a width."""
    characters = max(6, int(inches * 72 / legends.text_width("n" * 20, TEXT) * 20))
    return "\n".join(textwrap.wrap(caption, characters, max_lines=3, placeholder=" …")) or " "
