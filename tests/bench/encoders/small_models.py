"""Small text models of the real classes with random weights, and their tokenizer."""

from __future__ import annotations

import json
import string
from pathlib import Path

WORDS = ["a", "red", "square", "blue", "green", "circle", "above", "small"]


def tokenizer(folder: Path) -> None:
    """A tokenizer of whole words, with an end token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<end>", "<unk>", *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    ).save_pretrained(folder)


def sd3_models(root: Path) -> dict[str, Path]:
    """CLIP text models of widths 16 and 24 that read 9 tokens, and a T5 of width 48."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

    torch.manual_seed(0)
    for name, width, projected in (("clip_l", 16, 12), ("clip_g", 24, 20)):
        body = {
            "hidden_size": width,
            "intermediate_size": 32,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
        }
        ends = {"bos_token_id": 3, "eos_token_id": 1, "pad_token_id": 0}
        sizes = {"vocab_size": len(WORDS) + 3, "max_position_embeddings": 9, "projection_dim": projected}
        CLIPTextModelWithProjection(CLIPTextConfig(**body, **ends, **sizes)).save_pretrained(root / name)
        tokenizer(root / name)
    t5 = {"d_model": 48, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    T5EncoderModel(T5Config(vocab_size=len(WORDS) + 3, **t5)).save_pretrained(root / "t5")
    tokenizer(root / "t5")
    return {name: root / name for name in ("clip_l", "clip_g", "t5")}


def clip(folder: Path) -> Path:
    """A whole CLIP model with random weights: 24-pixel images, 16 tokens, 12 features."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    letters = list(string.ascii_lowercase)
    tokens = [*letters, *(c + "</w>" for c in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    CLIPProcessor(
        CLIPImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}),
        CLIPTokenizer.from_pretrained(folder),
    ).save_pretrained(folder)
    start, end = len(tokens) - 2, len(tokens) - 1
    body = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    text = {**body, **ends, "vocab_size": len(tokens), "max_position_embeddings": 16}
    torch.manual_seed(0)
    model = CLIPModel(
        CLIPConfig(
            text_config=text, vision_config={**body, "image_size": 24, "patch_size": 8}, projection_dim=12
        )
    )
    model.save_pretrained(folder)
    return folder


def spec(places: dict[str, Path], *names: str, **options: object) -> str:
    """``sd3:clip_l=...``."""
    given = {**{name: places[name] for name in names}, **options}
    return "sd3:" + ",".join(f"{name}={value}" for name, value in given.items())
