"""Captions encoded next to latents: training finds them, and needs no text encoder."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from analysis import rank
from analysis.runs.run import read
from bench import draw, encode, grid
from bench.encoders import caption_index

from .autoencoders import save_kl
from .encoders.small_models import sd3_models, spec
from .runs import SMALL

SIZES = ["--resolution", "16", "--train", "96", "--validation", "48"]


def test_captions_are_encoded_once_trained_on_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, store, run = save_kl(tmp_path / "vae"), tmp_path / "latents", tmp_path / "run"
    text = spec(sd3_models(tmp_path / "text"), "clip_l", "clip_g", "t5", length=12)
    source = ["--data", "shapes", *SIZES, "--autoencoder", str(place)]
    uses = ["--resolution", "16", "--patch", "2", "--text", text, "--drop-encoders", ".5", "--dropout", "0"]
    uses += ["--dropped", "empty"]
    settings = ["--settings", "2:5", "2:5:drop=t5", "2:5:drop=t5+clip_l"]
    train = [*SMALL, "--datasets", f"encoded:{store}", *uses, *settings, "--out", str(run)]
    assert encode.main([*source, "--text", text, "--out", str(store)]) == 0
    printed = capsys.readouterr().out
    (count,) = re.findall(r"(\d+) distinct captions encoded by sd3-", printed)
    assert f"of {count} captions are mostly outside of the vocabulary of sd3-" in printed
    assert encode.main(["--check", str(store)]) == 0
    assert capsys.readouterr().out.count("every file is as it was written") == 2
    (tmp_path / "text" / "t5").rename(tmp_path / "away")
    assert grid.main(train) == 0
    configs = [json.loads(file.read_text()) for file in run.glob("cells/*/config.json")]
    (name,) = {config["text_encoder"] for config in configs}
    (index,) = caption_index.every(store)
    assert name == index.name
    assert rank.main([str(run), "--where", "drop=t5"]) == 0
    capsys.readouterr()
    assert rank.main([str(run), "--by", "drop", "--format", "csv"]) == 0
    heading = capsys.readouterr().out.splitlines()[0]
    assert {"rank[drop=none]", "rank[drop=t5]", "rank[drop=clip_l+t5]"} <= set(heading.split(","))
    frame = read(run).frame
    assert set(frame["drop"]) == {"none", "t5", "clip_l+t5"}
    values = frame.groupby(["formulation", "weights", "seed"])["clip"].nunique()
    assert (values == 3).all(), "each is drawn from something else"
    (tmp_path / "away").rename(tmp_path / "text" / "t5")
    picture = tmp_path / "x.png"
    assert (
        draw.main([str(run), "eps/linear", "a small red circle", "--drop", "t5", "--out", str(picture)]) == 0
    )
    assert "sampler setting 25:2.5:drop=t5" in capsys.readouterr().out
    capsys.readouterr()
    config = tmp_path / "text" / "t5" / "config.json"
    config.write_text(config.read_text() + " ")
    assert grid.main([*train, "--seeds", "2", "--dry-run"]) == 2
    assert f"t5/config.json of --text {text} has changed since" in capsys.readouterr().err
    config.write_text(config.read_text()[:-1])
    (index.folder / caption_index.INDEX).unlink()
    assert grid.main([*train, "--seeds", "2", "--dry-run"]) == 2
    assert "not all captions are encoded: `python -m bench.encode --text" in capsys.readouterr().err
    assert encode.main(["--text", text, "--out", str(store), "--part", "1/2"]) == 0
    assert caption_index.find(store, text) == index


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--out is missing: python -m bench.encode --text sd3:"),
        (["--out", "nowhere"], "there is no encoded.json"),
        (["--out", "x", "--range", "2"], "--range belongs to --data or --latents"),
        (["--out", "x", "--validation", "9"], "--validation belongs to --data or --latents"),
    ],
)
def test_mistakes(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert encode.main(["--text", "tinyclip", *given]) == 2
    assert said in capsys.readouterr().err
