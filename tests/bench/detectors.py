"""Small detectors of the real classes of transformers, with random weights, as folders."""

from __future__ import annotations

from pathlib import Path

import torch

LABELS = {0: "cup", 1: "dog", 2: "remote"}


def yolos(folder: Path) -> Path:
    """A detector of boxes."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.YolosConfig(
        **sizes,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=6,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
        initializer_range=0.5,
    )
    transformers.YolosForObjectDetection(config).save_pretrained(folder)
    transformers.YolosImageProcessor(size={"shortest_edge": 32, "longest_edge": 48}).save_pretrained(folder)
    return folder


def mask2former(folder: Path) -> Path:
    """A detector of masks."""
    import transformers

    torch.manual_seed(0)
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = transformers.SwinConfig(
        image_size=32,
        patch_size=2,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=stages,
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        id2label=LABELS,
        label2id={name: number for number, name in LABELS.items()},
    )
    transformers.Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
