"""Extractors on small models of the real classes, built and saved by the test; nothing comes from the
network."""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.encoders import Extractor, extractor, reads_text
from bench.metrics.clip_score import clip_scores
from bench.pretrained.preprocessing import rgb, weights_digest
from flowbench._core.errors import UserError

from . import small_models

CAPTIONS = ["a red square", "blue", "a very long caption that runs on and on past the end", "x y z"]


def pictures(n: int, channels: int = 3, height: int = 20, width: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, height, width), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole CLIP model with random weights: 24-pixel images, 16 tokens, 12 features."""
    return small_models.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> Extractor:
    return extractor(f"clip:{clip_folder}")


def test_clip_features_are_those_of_the_library(clip: Extractor, clip_folder: Path) -> None:
    import transformers

    model = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    kind = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    pixels = kind.from_pretrained(clip_folder)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(clip_folder)
    images, captions = pictures(4, height=30, width=41), CAPTIONS
    pillow = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    with torch.no_grad():
        out = model(
            **pixels(pillow, return_tensors="pt"),
            **tokenizer(captions, return_tensors="pt", padding=True, truncation=True, max_length=16),
        )
    expected = 100 * (out.image_embeds * out.text_embeds).sum(-1)
    scores = clip_scores(clip.image_features(images), clip.text_features(captions))
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-3)
    assert len({round(float(s), 2) for s in scores}) == 4


def test_clip_resize_is_pillows_antialiased_bicubic(clip: Any) -> None:
    image = pictures(1, height=30, width=41)[0]
    seen: list[torch.Tensor] = []
    handle = clip._model.vision_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["pixel_values"]), with_kwargs=True
    )
    clip.image_features(image[None])
    handle.remove()
    resized = Image.fromarray(image.permute(1, 2, 0).numpy()).resize((32, 24), Image.Resampling.BICUBIC)
    crop = np.asarray(resized, dtype=np.float64)[:, 4:28] / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073])
    std = np.array([0.26862954, 0.26130258, 0.27577711])
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0).numpy(), (crop - mean) / std, atol=1e-5)


def test_clip_features_do_not_depend_on_the_batch(clip: Extractor) -> None:
    images, captions = pictures(37), [f"{c} {'red ' * i}" for i, c in enumerate(string.ascii_lowercase[:9])]
    together = clip.image_features(images)
    apart = torch.cat([clip.image_features(part) for part in images.split(5)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)
    alone = torch.cat([clip.text_features([caption]) for caption in captions])
    torch.testing.assert_close(clip.text_features(captions), alone, atol=1e-5, rtol=1e-5)
    assert together.shape == (37, clip.dim)
    assert together.dtype == torch.float32
    assert clip.image_features(images[:0]).shape == (0, 12)
    assert clip.text_features([]).shape == (0, 12)


def test_one_channel_is_repeated_to_three(clip: Extractor) -> None:
    grey = pictures(3, channels=1)
    torch.testing.assert_close(clip.image_features(grey), clip.image_features(grey.repeat(1, 3, 1, 1)))


def test_clip_name_identifies_weights_and_preprocessing(
    clip: Extractor, clip_folder: Path, tmp_path: Path
) -> None:
    from transformers import CLIPModel, CLIPProcessor

    assert isinstance(clip, Extractor)
    assert reads_text(clip)
    assert clip.preprocessing == "pil-bicubic24-crop24"
    assert clip.name == extractor(f"clip:{clip_folder}").name
    assert clip.name.startswith("clip-")
    assert len(clip.name) == 5 + 8
    model = CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        model.visual_projection.weight[0, 0] += 1e-3
    model.save_pretrained(tmp_path / "other")
    CLIPProcessor.from_pretrained(clip_folder).save_pretrained(tmp_path / "other")
    assert extractor(f"clip:{tmp_path / 'other'}").name != clip.name


def test_clip_in_bf16_is_near_float32(clip: Any, clip_folder: Path) -> None:
    half: Any = extractor(f"clip:{clip_folder},precision=bf16")
    assert half.name == f"{clip.name}-bf16"
    images = pictures(3)
    for single, rounded in (
        (clip.image_features(images), half.image_features(images)),
        (clip.text_features(CAPTIONS), half.text_features(CAPTIONS)),
        (clip.encode_text(CAPTIONS)[0], half.encode_text(CAPTIONS)[0]),
    ):
        assert rounded.dtype == torch.float32
        assert 1e-5 < float((single - rounded).norm() / single.norm()) < 0.05


def test_torchmetrics_extractor_gives_torchmetrics_scores(clip_folder: Path) -> None:
    from torchmetrics.functional.multimodal.clip_score import _clip_score_update
    from transformers import CLIPModel, CLIPProcessor

    class Bare:
        """The model with bare tensors as features, as CLIPScore expects them from transformers before 5."""

        def __init__(self, model: Any) -> None:
            self.model, self.config = model, model.config

        def to(self, device: Any) -> Bare:
            return self

        def get_image_features(self, *args: Any) -> Any:
            out = self.model.get_image_features(*args)
            return getattr(out, "pooler_output", out)

        def get_text_features(self, *args: Any) -> Any:
            out = self.model.get_text_features(*args)
            return getattr(out, "pooler_output", out)

    images, captions = pictures(4), CAPTIONS
    model = Bare(CLIPModel.from_pretrained(clip_folder).eval())
    with torch.no_grad(), pytest.warns(UserWarning, match="longer than"):
        theirs, _ = _clip_score_update(images, captions, model, CLIPProcessor.from_pretrained(clip_folder))
    ours = extractor(f"torchmetrics:{clip_folder}")
    scores = clip_scores(ours.image_features(images), ours.text_features(captions))
    np.testing.assert_allclose(scores, theirs.numpy(), atol=1e-3)
    assert ours.name.startswith("torchmetrics-")
    assert "bicubic24-crop24" in ours.preprocessing


class Layers(torch.nn.Module):
    """Stands where InceptionV3's layers are: [N, 3, 299, 299] to [N, 2048]."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(3 * 16, 2048)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.nn.functional.adaptive_avg_pool2d(x, [4, 4]).flatten(1))


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture(scope="module")
def inception_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inception")
    torch.manual_seed(1)
    torch.jit.save(torch.jit.script(Net()), str(folder / "inception-2015-12-05.pt"))
    return folder


def test_inception_features_are_clean_fids(inception_folder: Path) -> None:
    ours = extractor(f"inception:{inception_folder}")
    images = pictures(35, height=12, width=12)
    base = torch.jit.load(str(inception_folder / "inception-2015-12-05.pt"))
    expected = []
    for image in images.permute(0, 2, 3, 1).numpy().astype(np.float32):
        planes = [
            Image.fromarray(image[:, :, c]).resize((299, 299), Image.Resampling.BICUBIC) for c in range(3)
        ]
        x = torch.from_numpy(np.stack([np.asarray(p).clip(0, 255) for p in planes]))
        expected.append(base.layers((x[None] - 128) / 128))
    torch.testing.assert_close(
        ours.image_features(images), torch.cat(expected).detach(), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        ours.image_features(images[3:5]), ours.image_features(images)[3:5], atol=1e-6, rtol=1e-6
    )
    grey = images[:2, :1]
    torch.testing.assert_close(ours.image_features(grey), ours.image_features(grey.repeat(1, 3, 1, 1)))
    assert ours.image_features(images[:0]).shape == (0, 2048)
    file = inception_folder / "inception-2015-12-05.pt"
    assert isinstance(ours, Extractor)
    assert ours.name == "inception-" + hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    assert extractor(f"inception:{file}").name == ours.name
    assert not reads_text(ours)


def test_absent_or_foreign_weights_are_one_sentence(tmp_path: Path, clip_folder: Path, monkeypatch) -> None:
    from transformers import CLIPModel

    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        UserError, match=r"no CLIP weights 'none/nothing'.*hf download NAME.*give clip:FOLDER"
    ):
        extractor("clip:none/nothing")
    with pytest.raises(UserError, match="give torchmetrics:FOLDER"):
        extractor("torchmetrics:none/nothing")
    with pytest.raises(UserError, match="holds no CLIP model that transformers can read"):
        extractor(f"clip:{tmp_path}")
    with pytest.raises(
        UserError, match=r"no Inception weights inception-2015-12-05\.pt in .*fetch them once"
    ):
        extractor(f"inception:{tmp_path}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"no Inception weights .* in '.*/cache/flowbench'"):  # not in /tmp
        extractor("inception")
    (tmp_path / "inception-2015-12-05.pt").write_bytes(b"not a network")
    (tmp_path / "inception-2015-12-05.pt").chmod(0o666)
    with pytest.raises(UserError, match=r"holds code, and .* can be written by others"):
        extractor(f"inception:{tmp_path}")
    (tmp_path / "inception-2015-12-05.pt").chmod(0o600)
    with pytest.raises(UserError, match="is not clean-fid's Inception network"):
        extractor(f"inception:{tmp_path}")

    partial = tmp_path / "partial"
    CLIPModel.from_pretrained(clip_folder).vision_model.save_pretrained(partial)
    for name in clip_folder.iterdir():
        if name.name != "model.safetensors":
            (partial / name.name).write_bytes(name.read_bytes())
    with pytest.raises(UserError, match="is not a whole CLIP model: it lacks weights"):
        extractor(f"clip:{partial}")


def test_specs_that_name_no_extractor() -> None:
    with pytest.raises(UserError, match="no encoder is called 'tinyclp'; did you mean 'tinyclip'"):
        extractor("tinyclp")
    for spec in ("clip", "inception:"):
        with pytest.raises(UserError, match="names no path"):
            extractor(spec)


def test_images_must_be_uint8_with_one_or_three_channels() -> None:
    assert rgb(pictures(2, channels=1)).shape == (2, 3, 20, 20)
    with pytest.raises(ValueError, match=r"not float32 \[1, 3, 4, 4\]"):
        rgb(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"not uint8 \[1, 2, 4, 4\]"):
        rgb(torch.zeros(1, 2, 4, 4, dtype=torch.uint8))


def test_weights_digest_sees_values_names_types_and_settings() -> None:
    state = {"b": torch.arange(4.0), "a": torch.zeros(2, 2), "scalar": torch.tensor(1.0)}
    digest = weights_digest(state)
    assert digest == weights_digest(dict(reversed(state.items())))
    changed = [
        weights_digest({**state, "a": torch.ones(2, 2)}),
        weights_digest({**state, "a": torch.zeros(4)}),
        weights_digest({**state, "b": torch.arange(4.0, dtype=torch.float64)}),
        weights_digest({"c" if k == "a" else k: v for k, v in state.items()}),
        weights_digest(state, extra={"crop": 24}),
    ]
    assert len({digest, *changed}) == 6


def test_clip_conditions_generators_with_its_states_before_the_last_layer(
    clip: Extractor, clip_folder: Path
) -> None:
    import transformers

    tokens, pooled = clip.encode_text(CAPTIONS)  # type: ignore[attr-defined]
    model = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    given = transformers.CLIPTokenizer.from_pretrained(clip_folder)(
        CAPTIONS, return_tensors="pt", padding="max_length", truncation=True, max_length=tokens.shape[1]
    )
    with torch.no_grad():
        states = model.text_model(**given, output_hidden_states=True).hidden_states[-2]
    expected = torch.nn.functional.layer_norm(states, states.shape[-1:]) * given["attention_mask"][..., None]
    torch.testing.assert_close(tokens, expected)
    torch.testing.assert_close(pooled.norm(dim=1), torch.full((len(CAPTIONS),), clip.dim**0.5))
    torch.testing.assert_close(
        torch.nn.functional.normalize(pooled), torch.nn.functional.normalize(clip.text_features(CAPTIONS))
    )
    assert (tokens[0].abs().sum(dim=-1) == 0).any(), "zero at padding"
