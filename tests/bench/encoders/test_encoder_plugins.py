"""Encoders are plugin files: those of docs/plugins.md condition and measure a grid, and its check finds what is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flowbench
from analysis import rank
from analysis.report.__main__ import main as report
from bench import encoders, grid
from bench.encoders import Encoder, encoder
from bench.plugins import main as plugins
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

from ..runs import SMALL, run

PAGE = (Path(flowbench.ROOT) / "docs" / "plugins.md").read_text(encoding="utf-8")
TEXT = next(
    c for c in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if '@register("gradients(bins)")' in c
)


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """The file of the page."""
    file = tmp_path / "plain.py"
    file.write_text(TEXT)
    return file


def test_the_encoders_of_the_page_condition_and_measure(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plugins(["check", str(plugin)]) == 0
    assert {"encoder gradients: ok", "encoder words: ok"} <= set(capsys.readouterr().out.splitlines())
    out = tmp_path / "run"
    uses = ["--plugin", str(plugin), "--extractor", "gradients:bins=12", "--text", "words"]
    done = run([*SMALL, *uses, "--out", str(out)])
    assert done.returncode == 0, done.stderr
    cell = next((out / "cells").iterdir())
    kept = json.loads((cell / "config.json").read_text())
    assert kept["text_encoder"].startswith("words-16-")
    assert rank.main([str(out), "--format", "csv"]) == 0
    header = capsys.readouterr().out.splitlines()[0].split(",")
    assert "fid" in header
    assert report([str(out)]) == 0
    assert "gradients-12-" in (out / "report.html").read_text()


def test_an_edit_gives_the_encoder_another_name(plugin: Path) -> None:
    load_plugin(plugin)
    first = encoders.extractor("gradients").name
    plugin.write_text(TEXT + "# edited\n")
    load_plugin(plugin)
    assert encoders.extractor("gradients").name != first
    assert first.startswith("gradients-8-")


@pytest.mark.parametrize(
    ("option", "spec", "lacks"),
    [("--text", "gradients", "token vectors"), ("--extractor", "words", "features of images")],
)
def test_each_use_needs_an_encoder_that_has_it(
    option: str, spec: str, lacks: str, plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grid.main([*SMALL, "--plugin", str(plugin), option, spec, "--out", str(tmp_path / "run")]) == 2
    assert re.search(f"error: {option} '{spec}' .*{lacks}", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("/ 127.5 - 1)", "/ 127.5 - 1)\n        tokens[:, 12:] = 1", "behind a caption's end are not zero"),
        ("> 16 for", "> 2 for", "captions that are too long"),
        (
            "caption_flops = 1e3",
            "caption_flops = 1e3\n\n    def text_files(self):\n        from pathlib import Path\n\n"
            '        return {"weights": Path("none")}',
            "text_files() names 'weights'",
        ),
        ("width=32", "width=31", "16 tokens of 31"),
        ("caption_flops = 1e3", "", "caption_flops"),
        ("caption_flops = 1e3", 'caption_flops = 1e3\n    parts = ("one", "two")', "declares the parts"),
        *(
            (
                "class Words(Encoder):",
                f'from bench.encoders import TextPart\nVectors.parts = (TextPart("text", {ranges}),)\n\n\n'
                'class Words(Encoder):\n    parts = ("text",)',
                wrong,
            )
            for ranges, wrong in (
                ("(0, 16), (0, 31), (0, 32)", "outside of all its parts are not zero"),
                ("(0, 16), (0, 32), (0, 31)", "leave out some of the pooled vector"),
            )
        ),
        (".flatten(1)", ".flatten(1).double()", "no float32 tensor"),
        (
            "* torch.hypot(dx, dy)[..., None]",
            "* images.float().mean() * torch.hypot(dx, dy)[..., None]",
            "with the others",
        ),
        ("images = True", "images = texts = True", "has no text_features"),
    ],
)
def test_the_check_finds(
    old: str, new: str, wrong: str, plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in TEXT
    plugin.write_text(TEXT.replace(old, new))
    assert plugins(["check", str(plugin)]) == 2
    assert wrong in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--text", "--extractor"])
def test_an_option_that_is_spelt_out_though_it_is_the_usual_one_changes_no_cell(
    option: str, tmp_path: Path
) -> None:
    @encoders.register("probe(path,layer)")
    def probe(path: str, layer: int = 2) -> Encoder:
        class Probe(Encoder):
            images = tokens = True

            def load(self, device: str) -> None:
                raise AssertionError

        return Probe()

    def ids(spec: str) -> list[str]:
        args = grid.cli.parse([*SMALL, option, spec, "--out", str(tmp_path / "run")])
        planned = grid.planned_of(replace(args, grid=grid.with_metrics(args.grid)))
        return [planned.grid.evaluation.id, *(p.cell.id for p in planned.cells)]

    assert ids("probe:a") == ids("probe:a,layer=2") != ids("probe:a,layer=3")


def test_a_path_may_be_followed_by_options() -> None:
    @encoders.register("probe(path,layer)")
    def probe(path: str, layer: int = 2) -> Any:
        raise AssertionError

    specs = encoder.specs
    assert specs.values("probe:a,b=c,layer=3") == {"path": "a,b=c", "layer": 3}
    assert specs.canonical("probe:a,layer=2") == "probe:a"
    assert specs.canonical("probe:a,layer=3") == "probe:a,layer=3"
    for wrong in ("probe", "probe:", "probe:layer=3"):
        with pytest.raises(UserError, match="names no path"):
            specs.values(wrong)
