"""CLIP score per sample, and the names that carry a metric's recipe."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.metrics.clip_score import clip_scores
from bench.metrics.metric import get
from bench.metrics.names import full_name, full_names
from bench.metrics.run_metrics import measures


def test_cosine_times_100_without_clamp_and_free_of_scale() -> None:
    images = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    texts = torch.tensor([[6.0, 8.0], [-5.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(clip_scores(images, texts), [100.0, -100.0, 100 / np.sqrt(2)], rtol=1e-7)
    np.testing.assert_allclose(clip_scores(7 * images, texts / 3), clip_scores(images, texts), rtol=1e-6)


def test_zero_feature_is_nan_and_shapes_must_match() -> None:
    assert np.isnan(clip_scores(np.zeros((1, 2)), np.ones((1, 2)))).all()
    with pytest.raises(ValueError, match=r"\[2, 3\], captions \[1, 3\]"):
        clip_scores(np.ones((2, 3)), np.ones((1, 3)))


@pytest.fixture
def reference() -> Any:
    model = SimpleNamespace(name="tinyclip-1a2b3c4d", preprocessing="native32", dim=64, text_features=str)
    data = SimpleNamespace(name="shapes", digest="9f8e7d6c")
    return SimpleNamespace(extractor=model, data=data, features=torch.zeros(2000, 64), given=None)


def test_names_carry_the_recipe(reference: Any) -> None:
    assert full_names(measures(), reference, 256) == {
        "clip_name": "clip[tinyclip-1a2b3c4d,native32,n=256]",
        "fid_name": "fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]",
        "kid_name": "kid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]",
    }
    added = replace(get("composition"), version="5e6f7a8b")
    assert full_name(added, reference, 9) == "composition[text=5e6f7a8b,n=9]"
    del reference.extractor.text_features
    assert full_name(get("clip"), reference, 256) is None
    reference.data.digest = "a,b"
    with pytest.raises(ValueError, match="cannot be part of a metric's name"):
        full_name(get("fid"), reference, 256)
