"""Networks of the text encoder that a sampler setting drops: how it is written, and that all others stay as they were."""

from __future__ import annotations

import json

import pytest

from bench.config.experiment import Evaluation, Grid
from bench.config.identity import full, restore
from bench.config.sampling_settings import ControlSetting, Setting, parse
from bench.planning import encoder_drops
from flowbench._core.errors import UserError


@pytest.mark.parametrize(
    ("given", "key", "name", "words"),
    [
        ("50:5:drop=t5", "50:5:drop=t5", "ema-50-5-drop-t5", "without t5"),
        ("50:5:euler:native:drop=none", "50:5", "ema-50-5", ""),
        ("5:5:ddim:drop=t5+a+t5", "5:5:ddim:drop=a+t5", "ema-5-5-ddim-drop-a+t5", "ddim, without a and t5"),
    ],
)  # fmt: skip
def test_a_setting_is_written_in_one_way(given: str, key: str, name: str, words: str) -> None:
    setting = parse(given)
    assert (setting.key, setting.method) == (key, words)
    assert parse(key) == setting
    assert (
        ControlSetting(
            setting.steps, setting.cfg, setting.solver, setting.grid, setting.drop, weights="ema"
        ).name
        == name
    )


@pytest.mark.parametrize(
    "given", ["5:5:drop=", "5:5:drop=t5+none", "5:5:drop=T5", "5:5:drop=t5:ddim", "5:5:drop=t5:drop=t5"]
)
def test_mistakes_in_a_setting(given: str) -> None:
    with pytest.raises(UserError, match="drop="):
        parse(given)


def test_settings_without_it_are_stored_as_before() -> None:
    plain = Evaluation(settings=(Setting(7, 2.0, "ddim", "clock"), Setting(5, 1)))
    dropping = Evaluation(settings=(Setting(50, 5.0), Setting(50, 5.0, drop="t5")))
    assert "drop" not in json.dumps(full(plain))
    assert [setting.get("drop") for setting in full(dropping)["settings"]] == [None, "t5"]
    assert restore(Evaluation, full(dropping)) == dropping
    assert plain.id == "d66617499f76"


@pytest.mark.parametrize(
    ("text", "instead"),
    [("tinyclip", "it is a single network"), ("sd3:clip_l=x,t5=y", "did you mean 'clip_l'")],
)
def test_the_encoder_must_have_the_network(text: str, instead: str) -> None:
    grid = Grid(text=text, evaluation=Evaluation(settings=(parse("5:5:drop=clip_g"),)))
    with pytest.raises(
        UserError, match=f"setting 5:5:drop=clip_g: --text {text} has no network 'clip_g'; {instead}"
    ):
        encoder_drops.check(grid)
