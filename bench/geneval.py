"""``python -m bench.geneval DIR --detector PATH``: GenEval's score of the images that ``bench.draw --prompts`` drew.

A detector looks for the objects of each prompt, an encoder of images and text names their colours, and GenEval's rules
(:mod:`bench.metrics.geneval_rules`) decide whether a prompt is fulfilled. The score is the mean over tasks. Nothing is
downloaded.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import encoders
from bench.drawing import prompts
from bench.drawing.prompts import Pictures
from bench.metrics.geneval_rules import Wanted, fulfilled, named, wanted
from bench.metrics.geneval_tasks import TASKS
from flowbench._core import atomic
from flowbench._core.command import Parser, entry
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import many, markdown

if TYPE_CHECKING:
    from bench.metrics.object_colors import ObjectColors
    from bench.pretrained.detector import Detector

log = logging.getLogger("bench.geneval")

OUT = "geneval.json"
EVERY = 50
"""Prompts between two lines of the log."""
EXAMPLE = """example:
  python -m bench.draw runs/x 'rf/lognorm(0,1)' --prompts evaluation_metadata.jsonl --out drawn/rf
  python -m bench.geneval drawn/rf --detector facebook/mask2former-swin-small-coco-instance \\
      --extractor clip:openai/clip-vit-large-patch14"""


@dataclass(frozen=True)
class Judged:
    """The images of a prompt: which of them fulfil it."""

    prompt: str
    tag: str
    images: tuple[str, ...]
    correct: tuple[bool, ...]


@dataclass(frozen=True)
class Score:
    """A mean over images, half of its 95 % confidence interval over independent prompts, and the number of prompts."""

    value: float
    half: float
    prompts: int


def parser() -> Parser:
    """The options."""
    p = Parser(prog="python -m bench.geneval", description=__doc__, epilog=EXAMPLE)
    add = p.add_argument
    add("folder", type=Path, metavar="DIR", help="the folder of bench.draw --prompts, or one of its form")
    add(
        "--detector",
        required=True,
        metavar="PATH",
        help="of transformers: its folder, or its name in your cache",
    )
    add("--extractor", metavar="SPEC", help="what names colours, as clip:PATH; for the tasks with colours")
    add(
        "--tasks",
        nargs="+",
        choices=tuple(TASKS),
        metavar="TASK",
        help=f"of {', '.join(TASKS)} (default: all)",
    )
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add("--out", type=Path, metavar="FILE", help=f"the JSON file to write (default: DIR/{OUT})")
    add("--plugin", nargs="+", default=[], metavar="FILE", help="plugin files, for an extractor of yours")
    return p


def command(argv: Sequence[str] | None) -> int:
    """What :data:`main` does, with mistakes as exceptions."""
    args = parser().parse(argv)
    for file in args.plugin:
        load_plugin(file)
    out = args.out or args.folder / OUT
    found = [(pictures, wanted(pictures.about)) for pictures in prompts.drawn(args.folder)]
    asked = [(pictures, one) for pictures, one in found if one.tag in (args.tasks or TASKS)]
    if not asked:
        raise UserError(f"{args.folder} has no prompt of {', '.join(args.tasks)}")
    if out.is_dir() or not os.access(out.absolute().parent, os.W_OK):  # not known only once all is judged
        raise UserError(f"--out {out}: name a file in a folder that is there and can be written")
    check_extractor(args.extractor, [one for _, one in asked])
    detector, colors = loaded(args.detector, args.extractor, args.device)
    for _, one in asked:
        for label in one.labels:
            named(label, detector.labels)
    judged = []
    for number, (pictures, one) in enumerate(asked, 1):
        judged.append(judge(pictures, one, detector, colors))
        if number % EVERY == 0:
            log.info("%d of %d prompts", number, len(asked))
    scores = scored(judged)
    atomic.write_json(out, written(args.folder, detector, colors, scores, judged))
    print("\n".join([*table(scores), "", f"{out}: {many(len(judged), 'prompt')} by {detector.name}"]))
    return 0


main = entry(command)


def check_extractor(spec: str | None, asked: Sequence[Wanted]) -> None:
    """Raise :class:`UserError` for colours without an encoder that reads text, and for one without colours."""
    tags = sorted({one.tag for one in asked if one.colored})
    if spec is None and tags:
        others = " ".join(sorted({one.tag for one in asked} - set(tags)))
        without = f", or leave them out with --tasks {others}" if others else ""
        raise UserError(f"{' and '.join(tags)} need --extractor clip:PATH, which names colours{without}")
    if spec is not None:
        if not tags:
            raise UserError(f"--extractor {spec}: none of these prompts has a colour, leave it out")
        encoder = encoders.require(spec, "extractor")
        if not encoder.texts:
            raise UserError(
                f"--extractor {spec}: it reads no text, as naming colours needs; choose clip:PATH"
            )
        encoder.check()


def loaded(path: str, spec: str | None, device: str) -> tuple[Detector, ObjectColors | None]:
    """The detector and what names colours, on the device. Raises :class:`UserError`."""
    from bench.machine.device import pick_device
    from bench.metrics.object_colors import ObjectColors
    from bench.pretrained.detector import detector

    there = str(pick_device(device))
    return detector(path, there), ObjectColors(encoders.extractor(spec, there)) if spec else None


def judge(pictures: Pictures, asked: Wanted, detector: Detector, colors: ObjectColors | None) -> Judged:
    """Look at the images of a prompt."""
    opened = [prompts.picture(file) for file in pictures.files]
    correct = []
    for one, seen in zip(opened, detector(opened, asked.least), strict=True):
        correct.append(fulfilled(asked, seen, detector.labels, partial(colors, one) if colors else None))
    images = tuple(str(Path(*file.parts[-3:])) for file in pictures.files)
    return Judged(str(pictures.about.get("prompt")), asked.tag, images, tuple(correct))


def scored(judged: Sequence[Judged]) -> dict[str, Score]:
    """The score of each task that prompts have, and ``geneval``, the mean over them."""
    found: dict[str, Score] = {}
    for tag in TASKS:
        means = np.array([np.mean(one.correct) for one in judged if one.tag == tag])
        if len(means):
            found[tag] = Score(float(means.mean()), half_width(means), len(means))
    halves = np.array([score.half for score in found.values()])
    value = float(np.mean([score.value for score in found.values()]))
    return found | {"geneval": Score(value, float(np.sqrt((halves**2).sum()) / len(found)), len(judged))}


def half_width(means: NDArray[np.float64]) -> float:
    """Half of the 95 % confidence interval of a mean over prompts: 1.96 standard errors; 3 / n where all agree, the rule for
    what was seen in none or in all of n."""
    if np.ptp(means) == 0:
        return min(1.0, 3 / len(means))
    return float(1.96 * means.std(ddof=1) / len(means) ** 0.5)


def table(scores: dict[str, Score]) -> list[str]:
    """The scores in Markdown."""
    rows = ((name, f"{s.value:.3f} ±{s.half:.3f}", str(s.prompts)) for name, s in scores.items())
    return markdown(("task", "score", "prompts"), rows)


def written(
    folder: Path,
    detector: Detector,
    colors: ObjectColors | None,
    scores: dict[str, Score],
    judged: Sequence[Judged],
) -> dict[str, Any]:
    """What the file holds."""
    return {
        "by": prompts.drawn_by(folder),
        "detector": detector.name,
        "extractor": colors and colors.extractor.name,
        "scores": {name: asdict(score) for name, score in scores.items()},
        "images": [
            {"image": image, "tag": one.tag, "prompt": one.prompt, "correct": correct}
            for one in judged
            for image, correct in zip(one.images, one.correct, strict=True)
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
