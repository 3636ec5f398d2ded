"""Quality against evaluations of the network, by solver and time grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.plots.evaluations import comparable, found, looks_of
from analysis.plots.subject import Subject
from bench.config.sampling_settings import ControlSetting, parse

from ..plotted import one, perfect, ranked, table


def made(*keys: str, weights: str = "ema") -> list[ControlSetting]:
    return [ControlSetting(**vars(parse(key)), weights=weights) for key in keys]


def test_settings_are_compared_at_the_guidance_with_most_methods() -> None:
    keys = ("5:5", "50:5", "5:5:heun", "5:5:dpm++2m:karras", "50:1", "25:1", "10:1")
    settings, unknown = comparable([*made(*keys), *made(*keys, weights="raw")])
    assert {s.weights for s in settings} == {"ema"}
    assert [(s.key, s.evaluations) for s in settings] == [
        ("5:5:dpm++2m:karras", 5),
        ("5:5", 5),
        ("50:5", 50),
        ("5:5:heun", 9),
    ]
    assert unknown == []
    assert comparable(made("5:5", "5:5:of_a_plugin"))[1] == ["of_a_plugin"]


def test_every_method_has_a_look_of_its_own() -> None:
    solvers = ("ab2", "ancestral", "ddim", "dpm++2m", "dpm++2m_sde", "euler", "heun", "unipc2")
    rests = ("", ":clock", ":karras", ":logsnr", ":shift(3)", ":clock:guide=0.1-0.7")
    looks = looks_of([solver + rest for solver in solvers for rest in rests])
    shown = {name: {k: str(v) for k, v in look.items() if k != "label"} for name, look in looks.items()}
    assert len({tuple(sorted(look.items())) for look in shown.values()}) == len(looks) == 48
    assert len({shown[f"{solver}:clock"]["color"] for solver in solvers}) == len(solvers)
    assert {shown[f"{solver}:clock"]["linestyle"] for solver in solvers} == {shown["ab2:clock"]["linestyle"]}


def test_a_panel_for_each_formulation_with_a_line_for_each_method(tmp_path: Path) -> None:
    rows = [
        {
            "formulation": n,
            "fid": 10.0 + s + steps / 10 + 5 * (solver == "ddim"),
            "clip": 30.0,
            "steps": steps,
        }
        | {"solver": solver, "grid": "native", "cfg": 5.0, "seed": s}
        for n in ("rf", "v/cos")
        for s in (0, 1)
        for steps in (5, 50)
        for solver in ("euler", "ddim")
    ]
    run = table(rows, tmp_path / "t.csv")
    drawn = one(run, "evaluations")
    panels = drawn.figure.axes
    assert [panel.get_title() for panel in panels] == ["rf", "v/cos"]
    ddim, euler = (line for line in panels[0].lines if line.get_marker() not in ("None", "|", "_"))
    assert list(euler.get_ydata()) == [11.0, 15.5]
    assert list(ddim.get_ydata()) == [16.0, 20.5]
    assert abs(euler.get_xdata()[1] / 50 - 1) < 0.05
    assert "guidance 5" in drawn.caption
    assert "perfect" not in drawn.caption


def test_a_perfect_network_is_shown_where_it_is_guided_as_the_others(tmp_path: Path) -> None:
    rows = [
        {"formulation": n, "fid": 10.0, "clip": 30.0, "steps": steps, "guide": guide}
        for n in ("rf", "v/cos")
        for steps in (5, 50)
        for guide in ("all", "0.1-0.7")
    ]
    run = replace(table(rows, tmp_path / "t.csv"), path=tmp_path)
    perfect(run)
    subject = Subject(run, ranked(run))
    methods = found(subject, "fid", "shapes", "rf", comparable(subject.settings)[0])
    shown = {name: [str(point.perfect) for point in points] for name, points in methods.items()}
    assert shown == {"euler": ["22.0", "4.0"], "euler:guide=0.1-0.7": ["nan", "nan"]}
