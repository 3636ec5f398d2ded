"""The study's text conditioning on small models of the real classes, against diffusers' own pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import encoders
from bench.encoders.check_encoder import check
from flowbench._core.errors import UserError

from .small_models import sd3_models, spec

CAPTIONS = ["a red square", "blue", "a green circle above a small blue square"]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return sd3_models(tmp_path_factory.mktemp("sd3"))


def test_it_is_what_diffusers_gives_to_its_network(places: dict[str, Path]) -> None:
    """Where diffusers and the reference code agree, or an option says so: it pads by its tokenizers and projects CLIP-L."""
    from diffusers import StableDiffusion3Pipeline
    from transformers import AutoTokenizer, CLIPTextModelWithProjection, T5EncoderModel

    parts: dict[str, Any] = {"transformer": None, "scheduler": None, "vae": None}
    for number, name in enumerate(("clip_l", "clip_g", "t5"), 1):
        end = "" if number == 1 else f"_{number}"
        kind = T5EncoderModel if name == "t5" else CLIPTextModelWithProjection
        parts[f"text_encoder{end}"] = kind.from_pretrained(places[name]).eval()
        words = AutoTokenizer.from_pretrained(places[name], model_max_length=9)
        if name == "clip_l":
            words.pad_token = words.eos_token
        parts[f"tokenizer{end}"] = words
    pipeline = StableDiffusion3Pipeline(**parts)
    with torch.no_grad():
        theirs, _, vector, _ = pipeline.encode_prompt(
            CAPTIONS, CAPTIONS, CAPTIONS, "cpu", do_classifier_free_guidance=False, max_sequence_length=11
        )
    ours = encoders.text_encoder(spec(places, "clip_l", "clip_g", "t5", length=11, pooled="projected"))
    tokens, pooled = ours.encode_text(CAPTIONS)
    assert tokens.shape == (3, 9 + 11, 48)
    torch.testing.assert_close(tokens, theirs)
    torch.testing.assert_close(pooled, vector)


def test_any_subset_with_a_clip_passes_the_check_with_the_declared_sizes(places: dict[str, Path]) -> None:
    for names in (("clip_l",), ("clip_g", "t5"), ("clip_l", "clip_g", "t5")):
        assert check(spec(places, *names, length=12))


def test_every_option_changes_the_name_and_the_values(places: dict[str, Path]) -> None:
    every = ("clip_l", "clip_g", "t5")
    options: list[dict[str, object]] = [
        {},
        {"length": 12},
        {"pooled": "projected"},
        {"padding": "end"},
        {"mask": True},
        {"precision": "bf16"},
    ]
    made = [encoders.text_encoder(spec(places, *every, **each)) for each in options]
    assert len({encoder.name for encoder in made}) == len(options)
    tokens, pooled = made[0].encode_text(CAPTIONS)
    for encoder in made[1:]:
        other, vector = encoder.encode_text(CAPTIONS)
        assert not (
            tokens.shape == other.shape and torch.equal(tokens, other) and torch.equal(pooled, vector)
        )


def test_bf16_is_near_float32(places: dict[str, Path]) -> None:
    plain, half = (
        encoders.text_encoder(spec(places, "clip_l", "clip_g", "t5", length=12, precision=precision))
        for precision in ("float32", "bf16")
    )
    assert half.name.endswith("-bf16")
    for single, rounded in zip(plain.encode_text(CAPTIONS), half.encode_text(CAPTIONS), strict=True):
        assert rounded.dtype == torch.float32
        assert 1e-5 < float((single - rounded).norm() / single.norm()) < 0.03


def test_with_a_mask_t5_is_that_of_its_own_encoder(places: dict[str, Path]) -> None:
    joined = encoders.text_encoder(spec(places, "clip_l", "t5", length=12, mask=True))
    alone = encoders.text_encoder(f"t5:{places['t5']},length=12,mask=true")
    tokens, expected = joined.encode_text(CAPTIONS)[0][:, 9:], alone.encode_text(CAPTIONS)[0]
    torch.testing.assert_close(tokens, expected)
    assert bool((tokens[1, 2:] == 0).all()), "one word and its end"


def test_mistakes(places: dict[str, Path]) -> None:
    for wrong, said in (
        (spec(places, "t5"), "name clip_l=PATH or clip_g=PATH"),
        (spec(places, "clip_l", pooled="mean"), "pooled=mean is not known"),
        (spec(places, "clip_l", precision="fp16"), "precision=fp16 is not known"),
        (spec(places, "clip_l", length=1), "must be 2 or more"),
    ):
        with pytest.raises(UserError, match=said):
            encoders.get(wrong)
    with pytest.raises(UserError, match=r"no T5 weights 'nowhere'.*give --text sd3:t5=FOLDER"):
        encoders.get(spec(places, "clip_l", t5="nowhere")).check()


def test_the_name_depends_on_the_activation(places: dict[str, Path], tmp_path: Path) -> None:
    """Conversions of one CLIP differ in its activation."""
    changed = tmp_path / "clip_g"
    shutil.copytree(places["clip_g"], changed)
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    one, other = (encoders.text_encoder(f"sd3:clip_g={place}") for place in (places["clip_g"], changed))
    assert one.name != other.name
    assert not torch.equal(one.encode_text(CAPTIONS)[0], other.encode_text(CAPTIONS)[0])
