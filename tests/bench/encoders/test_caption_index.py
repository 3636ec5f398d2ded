"""Encoded captions are found without their encoder, and refused where its files are others than they were."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench import encoders
from bench.data.encoding.write_latents import Part
from bench.encoders import caption_index, caption_store
from bench.encoders.encoder import file_digests
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

from .small_models import sd3_models, spec

TEXTS = ["a red square", "a small blue circle above a green square"]
PLUGIN = """
import torch

from bench.encoders import Encoder, register


class Ones:
    name = "ones"

    def encode_text(self, captions):
        return torch.ones(len(captions), 2, 4), torch.ones(len(captions), 4)

    def cut(self, captions):
        return 0


class Plain(Encoder):
    tokens = True

    def load(self, device):
        return Ones()


@register("ones")
def ones():
    return Plain()
"""


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    """Three text models, each in a folder of its own."""
    return sd3_models(tmp_path / "models")


def written(folder: Path, text: str) -> caption_index.CaptionIndex:
    index = caption_store.write(folder, text, TEXTS, "cpu", Part())
    assert index
    return index


def test_the_files_of_an_encoder_are_found(models: dict[str, Path], tmp_path: Path) -> None:
    kinds = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    text = spec(models, "clip_l", "t5")
    assert set(file_digests(text)) == {f"{name}/{kind}" for name in ("clip_l", "t5") for kind in kinds}
    assert set(file_digests(f"t5:{models['t5']}")) == kinds
    assert set(file_digests("tinyclip")) == {"weights"}
    weights = models["t5"] / "model.safetensors"
    weights.rename(models["t5"] / "part-2")
    parts = {"weight_map": {"a": "part-2", "b": "part-1", "c": "part-2"}}
    (models["t5"] / "model.safetensors.index.json").write_text(json.dumps(parts))
    assert {"t5/model.safetensors.index.json", "t5/part-2"} < set(file_digests(text)), (
        "as far as they are there"
    )
    shutil.rmtree(models["t5"])
    assert set(file_digests(text)) == {f"clip_l/{kind}" for kind in kinds}


def test_other_weights_under_the_same_path_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    text = spec(models, "clip_l", "t5")
    index = written(tmp_path, text)
    models["t5"].rename(tmp_path / "away")
    assert caption_index.find(tmp_path, text) == index, "an absent network is not needed"
    (tmp_path / "away").rename(models["t5"])
    assert caption_index.find(tmp_path, text) == index
    weights = models["t5"] / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"t5/model\.safetensors of --text sd3:.* has changed since: `python"):
        caption_index.find(tmp_path, text)
    with pytest.raises(
        UserError, match=rf"holds 2 distinct captions encoded by {index.encoder}.* delete that"
    ):
        written(tmp_path, text)


def test_the_same_command_finds_that_only_the_form_of_a_file_has_changed(
    models: dict[str, Path], tmp_path: Path
) -> None:
    text = spec(models, "clip_l", "t5")
    index = written(tmp_path, text)
    shard = index.folder / index.shards[0].file
    before = shard.stat().st_mtime_ns
    config = models["clip_l"] / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(UserError, match=r"clip_l/config\.json of --text"):
        caption_index.find(tmp_path, text)
    again = written(tmp_path, text)
    assert caption_index.find(tmp_path, text) == again
    assert (again.encoder, again.shards, shard.stat().st_mtime_ns) == (index.encoder, index.shards, before)


def test_captions_of_a_plugin_that_has_changed_are_refused(tmp_path: Path) -> None:
    plugin = tmp_path / "ones.py"
    plugin.write_text(PLUGIN)
    load_plugin(plugin)
    index = written(tmp_path, "ones")
    assert caption_index.find(tmp_path, "ones") == index
    assert set(index.files) == {"plugin"}
    plugin.write_text(PLUGIN.replace("torch.ones(len(captions), 2", "torch.zeros(len(captions), 2"))
    load_plugin(plugin)
    assert encoders.text_encoder("ones").name != index.encoder
    with pytest.raises(UserError, match="plugin of --text ones has changed since"):
        caption_index.find(tmp_path, "ones")


def test_a_damaged_index_is_written_again(models: dict[str, Path], tmp_path: Path) -> None:
    text = spec(models, "clip_l")
    index = written(tmp_path, text)
    (index.folder / caption_index.INDEX).write_text(json.dumps({"format": caption_index.FORMAT}))
    with pytest.raises(UserError, match=r"text\.json is damaged .*: delete it and encode again"):
        caption_index.find(tmp_path, text)
    (index.folder / caption_index.INDEX).unlink()
    assert written(tmp_path, text) == index
