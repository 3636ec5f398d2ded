"""The CLIP score as we and torchmetrics compute it: a small CLIP with random weights, on pictures and their captions.

torchmetrics' own path from images and captions to scores is run, but for the bare tensors that it expects from
transformers before 5. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.encoders import Extractor, extractor, text_features
from bench.metrics.clip_score import clip_scores

EDGE, FEATURES, WORDS = 64, 32, 77
"""Pixels that it reads, its features, and the tokens of a caption."""


def random_clip(folder: Path) -> None:
    """Write a CLIP with seeded random weights, whose words are letters, into a new folder."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = list("abcdefghijklmnopqrstuvwxyz")
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    images = CLIPImageProcessor(size={"shortest_edge": EDGE}, crop_size={"height": EDGE, "width": EDGE})
    CLIPProcessor(images, CLIPTokenizer.from_pretrained(folder)).save_pretrained(folder)
    first, last = len(tokens) - 2, len(tokens) - 1
    body = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": first, "eos_token_id": last, "pad_token_id": last}
    text = {**body, **ends, "vocab_size": len(tokens), "max_position_embeddings": WORDS}
    vision = {**body, "image_size": EDGE, "patch_size": 16}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=FEATURES))
    made.save_pretrained(folder)


class Bare:
    """A CLIP whose features are bare tensors."""

    def __init__(self, model: Any) -> None:
        self.model, self.config = model, model.config

    def to(self, device: Any) -> Bare:
        """On the CPU as it is."""
        return self

    def get_image_features(self, *given: Any) -> Any:
        """Features of pixels."""
        found = self.model.get_image_features(*given)
        return getattr(found, "pooler_output", found)

    def get_text_features(self, *given: Any) -> Any:
        """Features of tokens."""
        found = self.model.get_text_features(*given)
        return getattr(found, "pooler_output", found)


@torch.no_grad()
def torchmetrics_scores(folder: Path, images: Tensor, captions: Sequence[str]) -> Any:
    """torchmetrics' scores ``[N]`` of images uint8 ``[N, 3, H, W]`` and captions."""
    from torchmetrics.functional.multimodal.clip_score import _clip_score_update
    from transformers import CLIPModel, CLIPProcessor

    model: Any = Bare(CLIPModel.from_pretrained(folder).eval())
    scores, _ = _clip_score_update(list(images), list(captions), model, CLIPProcessor.from_pretrained(folder))
    return scores.numpy()


def our_scores(spec: str, images: Tensor, captions: Sequence[str]) -> Any:
    """Our scores by an extractor."""
    model: Extractor = extractor(spec)
    texts = text_features(model, captions)
    assert texts is not None
    return clip_scores(model.image_features(images), texts)
