"""The network of docs/plugins.md, from its file through a grid and its ranking to a picture."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

import flowbench
from analysis import rank
from bench import draw, grid, plugins
from bench.config.experiment import Model
from bench.config.identity import identity

from .runs import SMALL, written

PAGE = Path(flowbench.ROOT) / "docs" / "plugins.md"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    section = PAGE.read_text(encoding="utf-8").partition("## Add a network")[2]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    file = tmp_path / "conv.py"
    file.write_text(found[1])
    return file


def test_it_is_checked_trained_ranked_and_drawn_from(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plugins.main(["check", str(plugin)]) == 0
    assert "model conv: ok" in capsys.readouterr().out
    out = tmp_path / "run"
    argv = [*SMALL, "--plugin", str(plugin), "--out", str(out)]
    assert grid.main([*argv, "--model", "conv", "--compile", "off"]) == 0
    configs = [json.loads(file.read_text()) for file in out.glob("cells/*/config.json")]
    assert {c["cell"]["model"]["architecture"] for c in configs} == {"conv"}
    assert all(c["architecture"].startswith("conv 1 ") for c in configs), "name, version, digest of the file"
    assert rank.main([str(out)]) == 0
    assert "rf/lognorm(0.00,1.00)" in capsys.readouterr().out
    picture = tmp_path / "x.png"
    drawn = ["a small red circle", "--plugin", str(plugin), "--out", str(picture)]
    assert draw.main([str(out), "eps/linear", *drawn]) == 0
    with Image.open(picture) as image:
        assert image.size[0] >= 16


def test_cells_of_two_networks_live_side_by_side_and_a_changed_file_is_refused(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = [*SMALL, "--compile", "off", "--plugin", str(plugin), "--out", str(out)]
    assert grid.main([*argv, "--model", "conv:kernel=3"]) == 0
    before = written(out, "ema.safetensors")
    assert grid.main(argv) == 0
    assert len(written(out, "ema.safetensors")) == 4
    assert grid.main([*argv, "--model", "conv"]) == 0
    assert {k: v for k, v in written(out, "ema.safetensors").items() if k in before} == before
    capsys.readouterr()
    plugin.write_text(plugin.read_text().replace("gelu", "relu"))
    assert grid.main([*argv, "--model", "conv"]) == 2
    assert "was trained with another version of the network" in capsys.readouterr().err
    drawn = ["a small red circle", "--plugin", str(plugin), "--out", str(tmp_path / "x.png")]
    cells = {f.parent.name: json.loads(f.read_text())["cell"] for f in out.glob("cells/*/config.json")}
    (kept,) = (
        name
        for name, cell in cells.items()
        if cell["formulation"] == "eps/linear" and cell["model"].get("architecture") == "conv"
    )
    assert draw.main([str(out), "eps/linear", "--cell", kept, *drawn]) == 2
    assert "the network 'conv' has changed since" in capsys.readouterr().err


def test_mistakes_are_one_sentence_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec, sentence in (
        ("mdit", "did you mean 'mmdit'"),
        ("mmdit:depth=2", "mmdit has no option 'depth'"),
    ):
        assert grid.main([*SMALL, "--model", spec, "--out", str(tmp_path / "run")]) == 2
        assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_default_costs_old_cells_nothing() -> None:
    assert identity(Model()) == identity(Model(architecture="mmdit"))
    assert identity(Model(architecture="conv")) != identity(Model())
