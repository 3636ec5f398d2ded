"""CLIP score per sample, and the names that carry a metric's recipe."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.metrics.clip_score import clip_scores
from bench.metrics.names import clip_name, fid_name, kid_name


def test_cosine_times_100_without_clamp_and_free_of_scale() -> None:
    images = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]])
    texts = torch.tensor([[6.0, 8.0], [-5.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(clip_scores(images, texts), [100.0, -100.0, 100 / np.sqrt(2)], rtol=1e-7)
    np.testing.assert_allclose(clip_scores(7 * images, texts / 3), clip_scores(images, texts), rtol=1e-6)


def test_zero_feature_is_nan_and_shapes_must_match() -> None:
    assert np.isnan(clip_scores(np.zeros((1, 2)), np.ones((1, 2)))).all()
    with pytest.raises(ValueError, match=r"\[2, 3\], captions \[1, 3\]"):
        clip_scores(np.ones((2, 3)), np.ones((1, 3)))


def test_names_carry_the_recipe() -> None:
    model = SimpleNamespace(name="tinyclip-1a2b3c4d", preprocessing="native32", dim=64, has_text=True)
    assert clip_name(model, 256) == "clip[tinyclip-1a2b3c4d,native32,n=256]"
    assert fid_name(model, "shapes-9f8e7d6c", 2000, 256) == (
        "fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]"
    )
    assert kid_name(model, "shapes-9f8e7d6c", 2000, 256).startswith("kid[tinyclip-1a2b3c4d,native32,ref=")
    with pytest.raises(ValueError, match="cannot be part of a metric's name"):
        fid_name(model, "a,b", 2000, 256)
