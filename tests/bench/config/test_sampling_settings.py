"""A sampler setting: its key, its counts, and what it refuses."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from bench.config.sampling_settings import FIELDS, ControlSetting, Setting, parse
from flowbench._core.errors import UserError


@pytest.mark.parametrize(
    "text",
    [
        "50:1",
        "5:2.5",
        "5:5:ddim",
        "5:5:euler:clock",
        "5:5:ddim:clock",
        "5:5:dpm++2m:karras",
        "5:5:guide=0.1-0.7",
        "5:5:ddim:drop=t5:guide=0-0.7",
        "5:5:ddim:logsnr",
        "3:0.1234568",
        "5:5:of_a_plugin",
        "5:1:ancestral:rule=cfg++",
    ],
)
def test_a_setting_is_its_key(text: str) -> None:
    assert parse(text).key == text
    control = ControlSetting(**vars(parse(text)), weights="raw")
    assert control.name == "raw-" + text.replace(":", "-").replace("=", "-")


def test_every_field_of_a_setting_changes_its_key() -> None:
    usual = Setting(5, 0.6)
    values = (6, 0.5, "ddim", "clock", "t5", "0.1-0.7", "cfg++")
    for f, value in zip(fields(Setting), values, strict=True):
        assert replace(usual, **{f.name: value}).key != usual.key
    assert FIELDS == ("steps", "cfg", "solver", "grid", "drop", "guide", "rule")


def test_numbers_are_rounded_at_the_door() -> None:
    assert parse("4:2:euler:shift(1)") == parse("4:2:euler:clock")
    assert parse("4:1.00000001") == parse("4:1")
    assert parse("4:1.000001") != parse("4:1")


def test_evaluations_are_counted_once_for_all() -> None:
    found = {
        s: (parse(s).evaluations, parse(s).work)
        for s in (
            "5:1",
            "5:1:ddim",
            "5:0",
            "50:2.5",
            "5:1:heun",
            "5:5:heun",
            "5:1:ab2",
            "5:5:unipc2",
            "5:1:rule=cfg++",
        )
    }
    assert list(found.values()) == [
        (5, 5),
        (5, 5),
        (5, 10),
        (50, 100),
        (9, 9),
        (9, 18),
        (5, 5),
        (5, 10),
        (5, 10),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("50", "'50' is not STEPS:CFG[:SOLVER[:GRID]]"),
        ("5:x", "for example 50:2.5"),
        ("5:5:euler:clock:1", "is not STEPS"),
        ("1:5:ab2", "1:5:ab2: with fewer than 2 steps ab2 is a simpler solver"),
        ("1:5:heun", "take 2 steps or more"),
        ("3:5:dpm++2m", "take 4 steps or more"),
        ("2:5:unipc2", "take 3 steps or more"),
        ("5:5:dpm2m", "no solver is called 'dpm2m'; did you mean 'dpm++2m'"),
        ("5:1:guide=0.1-0.7", "guidance 1 is none"),
        ("5:5:guide=0.7-0.1", "name the clocks"),
        ("5:5:guide=0.1", "name the clocks"),
        ("5:5:guide=0.1-0.10000000001", "name the clocks"),
        ("5:5:guide=0-1:guide=0-1", "is not STEPS"),
        ("guide=0-1", "is not STEPS"),
        ("5:0.6:rule=cfgg", "did you mean 'cfg'"),
        (
            "5:5:rule=cfg++",
            "5:5:rule=cfg++: cfg++ has a guidance above 0 and up to 1, for example 5:0.6:rule=cfg++",
        ),
        ("5:0:rule=cfg++", "above 0"),
        ("5:0.6:guide=0.1-0.7:rule=cfg++", "leave one of them out"),
        ("5:0.6:heun:rule=cfg++", "and heun combines several: take ddim, euler or ancestral"),
        ("5:0.6:dpm++2m:rule=cfg++", "and dpm++2m combines several"),
        ("5:5:dimm", "no solver is called 'dimm'; did you mean 'ddim'"),
        ("5:5:Euler", "no solver is called 'Euler'; did you mean 'euler'?"),
        ("5:5:ddim:common", "unknown grid 'common'"),
        ("0:5", "steps must be at least 1"),
        ("5:nan", "guidance at least 0"),
        ("5:-1", "guidance at least 0"),
    ],
)
def test_mistakes_are_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text).check()
    assert words in str(caught.value)
