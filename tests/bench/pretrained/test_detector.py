"""Detectors of transformers: what their own post-processing gives, by confidence, with boxes around masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.pretrained.detector import box_of, detector
from flowbench._core.errors import UserError

from ..detectors import LABELS, mask2former, yolos


def pictures() -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
    return [Image.fromarray(one) for one in pixels]


def test_boxes_are_those_of_the_library(tmp_path: Path) -> None:
    import transformers

    found = detector(str(yolos(tmp_path)), "cpu")
    assert found.labels == set(LABELS.values())
    assert found.name.startswith("yolos-")
    model: Any = transformers.YolosForObjectDetection.from_pretrained(tmp_path).eval()
    images = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    for picture, seen in zip(pictures(), found(pictures(), 0.3), strict=True):
        with torch.no_grad():
            out = model(**images(images=[picture], return_tensors="pt"))
        (one,) = images.post_process_object_detection(out, threshold=0.3, target_sizes=[(30, 40)])
        theirs = sorted(
            zip(one["scores"].tolist(), one["labels"].tolist(), one["boxes"].tolist(), strict=True),
            reverse=True,
        )
        assert [each.label for each in seen] == [LABELS[label] for _, label, _ in theirs]
        for each, (score, _, box) in zip(seen, theirs, strict=True):
            assert each.confidence == pytest.approx(score, abs=1e-5)
            assert each.box == pytest.approx(box, abs=1e-3)
            assert each.mask is None
        assert seen, "random weights are confident enough that something is compared"


def test_masks_have_the_boxes_around_them(tmp_path: Path) -> None:
    found = detector(str(mask2former(tmp_path)), "cpu")
    for seen in found(pictures(), 0.0):
        assert [each.confidence for each in seen] == sorted((each.confidence for each in seen), reverse=True)
        for each in seen:
            assert each.mask is not None
            assert each.mask.shape == (30, 40)
            left, top, right, bottom = map(int, each.box)
            inside = each.mask[top:bottom, left:right]
            assert inside.sum() == each.mask.sum()
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
        assert len(seen) > 0
    assert found(pictures(), 0.99) == [[], []]


def test_the_box_of_a_mask() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1:3, 4] = True
    assert box_of(mask) == (4, 1, 5, 3)


def test_what_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no object detection weights"):
        detector(str(tmp_path / "absent"), "cpu")
    folder = yolos(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "clip"}))
    with pytest.raises(UserError, match="holds no object detection model"):
        detector(str(folder), "cpu")
