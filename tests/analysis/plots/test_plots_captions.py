"""Which setting a figure shows, what its caption says, and why one cannot be drawn."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from analysis import plots
from analysis.plots import files
from analysis.plots.steps import ladder
from analysis.plots.style import Drawn
from analysis.plots.subject import usual
from analysis.runs.run import Run
from bench.config.sampling_settings import ControlSetting
from flowbench._core.errors import UserError

from ..plotted import FEW, HAND, folder, hand, one, ranked, table


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([("raw", 25, 5.0), ("ema", 25, 5.0), ("ema", 50, 5.0)], ("ema", 25, 5.0)),
        ([("ema", 25, 1.0), ("ema", 50, 1.0), ("ema", 50, 7.0), ("ema", 50, 4.0)], ("ema", 50, 4.0)),
        ([("raw", 25, 5.0), ("ema", 10, 5.0)], ("ema", 10, 5.0)),
        ([("raw", 25, 5.0), ("other", 50, 5.0)], ("raw", 25, 5.0)),
    ],
)
def test_the_usual_setting(settings: list[tuple[str, int, float]], expected: tuple[str, int, float]) -> None:
    made = [ControlSetting(*rest, weights=weights) for weights, *rest in [*settings, expected]]
    assert usual(made[:-1]) == made[-1]


def test_the_ladder_of_steps_has_the_guidance_of_the_fewest() -> None:
    settings = [(50, 1.0), (25, 1.0), (10, 1.0), (50, 4.0), (5, 4.0)]
    found = ladder([ControlSetting(*setting, weights="ema") for setting in settings])
    assert [(s.steps, s.cfg) for s in found] == [(5, 4.0), (50, 4.0)]


def test_captions_say_what_is_shown(drawn: dict[str, Drawn]) -> None:
    for name in ("plane", "steps"):
        assert "clip[synthetic,none,n=8]" in drawn[name].caption
        assert "fid[synthetic,none,n=8]" in drawn[name].caption
        assert "EMA weights" in drawn[name].caption
        assert "means over 3 seeds, bars 95 % intervals over seeds, without" in drawn[name].caption
    assert "25 sampling steps, guidance 5" in drawn["plane"].caption
    assert "95 %" in drawn["ranks"].caption
    assert "bands one standard deviation over seeds" in drawn["curves"].caption
    assert "seed 0" in drawn["samples"].caption


def test_letters_that_the_font_lacks_are_reported_once(tmp_path: Path) -> None:
    rows = [{"formulation": n, "fid": 9.0, "clip": c} for n, c in (("\u6d41/a", 30.0), ("rf", 31.0))]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = one(table(rows, tmp_path / "t.csv"), "plane")
        files.render(figure, "svg")
    assert figure.caption.endswith("Letters that the font lacks are drawn as boxes.")
    assert "boxes" not in one(hand(tmp_path / "u.csv"), "plane").caption


def test_titles_name_no_folders(tmp_path: Path) -> None:
    rows = [
        {"formulation": n, "fid": f, "clip": c, "dataset": d, "steps": s}
        for n, (f, c) in HAND.items()
        for d in ("images:/home/me/birds", "digits")
        for s in (5, 25)
    ]
    about = table(rows, tmp_path / "t.csv")
    for name in ("plane", "steps"):
        titles = {axes.get_title() for axes in one(about, name).figure.axes}
        assert titles == {"images:\u2026/birds", "digits"}


def test_one_seed_has_no_bars(tmp_path: Path) -> None:
    figure = one(hand(tmp_path / "t.csv", seed=4), "plane")
    assert not figure.figure.axes[0].collections
    assert "seed 4 only" in figure.caption


@pytest.mark.parametrize(
    ("name", "why"),
    [("heat", "2 x 2"), ("levels", "without its cells"), ("budget", "without its cells"), ("curves", "without its cells"),
     ("samples", "without its cells"), ("steps", "only one number of sampling steps"),
     ("evaluations", "one solver on one time grid")],
)  # fmt: skip
def test_what_a_bare_table_lacks(tmp_path: Path, name: str, why: str) -> None:
    about = hand(tmp_path / "t.csv")
    found, reasons = plots.draw(about, ranked(about), [name])
    assert not found
    assert why in reasons[name]


def test_one_formulation_is_compared_with_nothing(tmp_path: Path) -> None:
    about = folder(tmp_path, FEW[:1], seeds=1)
    found, reasons = plots.draw(about, ranked(about))
    assert [d.name for d in found] == ["plane", "steps", "curves", "samples"]
    assert reasons["levels"] == reasons["budget"] == "with one formulation there is nothing to compare"


def test_a_table_without_clip_has_no_plane(tmp_path: Path) -> None:
    rows = [
        {"formulation": n, "fid": f, "clip": None, "steps": s} for n, (f, _) in HAND.items() for s in (5, 25)
    ]
    about = table(rows, tmp_path / "t.csv")
    found, reasons = plots.draw(about, ranked(about), ["plane", "steps"])
    assert reasons["plane"].startswith("no formulation has both a CLIP score and FID")
    assert [axes.get_ylabel() for axes in found[0].figure.axes] == ["FID, lower is better"]


def test_unknown_figure(few: Run) -> None:
    with pytest.raises(UserError, match=r"no figure 'plain'; did you mean 'plane'\?"):
        plots.draw(few, ranked(few), ["plain"])
