"""What the tests of figures share: run folders of some sizes, their rankings, and what is written in a figure and where."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

import formulations
from analysis import plots
from analysis.plots import style
from analysis.plots.style import Drawn
from analysis.ranking import ideal_columns, ranking
from analysis.ranking.result import RankingResult
from analysis.runs import networks, run, synthetic
from analysis.runs.run import Run

FEW = ("rf", "rf/lognorm(0.00,1.00)", "rf/mode(1.29)", "eps/linear", "v/cos", "edm(-1.20,1.20)")
STUDY = tuple(formulations.names("paper"))


def folder(path: Path, names: tuple[str, ...] = FEW, **options: Any) -> Run:
    """A run folder with pictures, made up."""
    options = {"seeds": 2, "samples": 8, "pictures": 6, "weights": ("ema",), **options}
    return run.read(synthetic.write(path, synthetic.truth(names), **options))


def of_networks(path: Path, names: tuple[str, ...] = FEW[:2], **options: Any) -> Run:
    """A run folder with two networks, made up: the deeper one is a DiT, with more operations and a lower loss."""
    options = {"sizes": ((3, 10_000), (4, 10_000)), "pictures": 0, **options}
    about = folder(path, names, **options)
    file = about.path / "grid.json"
    plan = json.loads(file.read_text())
    for recipe in plan["recipes"]:
        if recipe["recipe"]["model"]["depth"] == 4:
            recipe["recipe"]["model"]["architecture"] = "dit"
    file.write_text(json.dumps(plan))
    return networks.separated(run.read(about.path))


def perfect(about: Run) -> dict[tuple[str, int], float]:
    """Writes what the steps of a run leave to a perfect network: made up, the same for all formulations of a family.
    Returns it by formulation and steps."""
    frame = about.frame
    keys = frame[list(ideal_columns.SETTING)].drop_duplicates().to_dict("records")
    left = [
        {**key, "fid": len(key["formulation"].split("/")[0]) + 100 / key["steps"], "kid": 0.1} for key in keys
    ]
    (about.path / ideal_columns.FILE).write_text(json.dumps({"left": left}))
    return {(row["formulation"], row["steps"]): row["fid"] for row in left}


def table(rows: list[dict[str, Any]], path: Path) -> Run:
    """A bare table with defaults for what is not given."""
    usual = {"dataset": "shapes", "weights": "ema", "steps": 25, "cfg": 5.0, "seed": 0}
    pd.DataFrame([{**usual, **row} for row in rows]).to_csv(path, index=False)
    return run.read(path)


def ranked(about: Run) -> RankingResult:
    return ranking.rank(about)


def with_frame(about: Run, frame: pd.DataFrame) -> Run:
    return replace(about, frame=frame)


@dataclass(frozen=True)
class Written:
    """A text as it is drawn: its box in pixels (left, bottom, right, top) and its size in points."""

    text: str
    box: tuple[float, float, float, float]
    size: float
    colour: str


def written(figure: Figure, dpi: float) -> list[Written]:
    """All texts that a figure draws, and only those."""
    found: list[Written] = []
    draw = Text.draw

    def noting(self: Text, renderer: Any, *args: Any, **kwargs: Any) -> None:
        draw(self, renderer, *args, **kwargs)
        if self.get_visible() and self.get_text().strip():
            box = self.get_window_extent(renderer)
            seen = (box.x0, box.y0, box.x1, box.y1)
            found.append(Written(self.get_text(), seen, float(self.get_fontsize()), str(self.get_color())))

    Text.draw = noting  # type: ignore[method-assign]
    try:
        with style.styled():  # as `files.render` does
            figure.savefig(io.BytesIO(), format="png", dpi=dpi)
    finally:
        Text.draw = draw  # type: ignore[method-assign]
    half = len(found) // 2
    return found[half:] if _repeated(found) else found  # some layouts draw twice


def _repeated(found: list[Written]) -> bool:
    half = len(found) // 2
    return len(found) % 2 == 0 and [w.text for w in found[:half]] == [w.text for w in found[half:]]


def overlapping(texts: list[Written], slack: float = 0.5) -> list[tuple[str, str]]:
    """Pairs of texts whose boxes overlap by more than ``slack`` pixels in both directions."""
    found = []
    for i, one in enumerate(texts):
        for other in texts[i + 1 :]:
            a, b = one.box, other.box
            wide, tall = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            if wide > slack and tall > slack:
                found.append((one.text, other.text))
    return found


def outside(texts: list[Written], figure: Figure, dpi: float) -> list[str]:
    """Texts that leave the figure."""
    right, top = (dpi * inches for inches in figure.get_size_inches())
    return [
        t.text
        for t in texts
        if min(t.box[0], t.box[1]) < -0.5 or t.box[2] > right + 0.5 or t.box[3] > top + 0.5
    ]


def lines(figure: Figure, label: str) -> list[Line2D]:
    """The lines and markers of a formulation in all panels."""
    return [line for axes in figure.axes for line in axes.get_lines() if line.get_label() == label]


def one(about: Run, name: str) -> Drawn:
    (figure,), why = plots.draw(about, ranked(about), [name])
    assert not why
    return figure


HAND = {"a": (10.0, 30.0), "b": (20.0, 40.0), "c": (15.0, 29.0), "d": (20.0, 35.0), "e": (45.0, 20.0)}
"""FID and CLIP: a and b are front 1; d is behind b; c is behind a; c and d are front 2; e is front 3."""


def hand(path: Path, **more: Any) -> Run:
    return table([{"formulation": n, "fid": f, "clip": c, **more} for n, (f, c) in HAND.items()], path)
