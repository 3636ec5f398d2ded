"""`tinyclip`: a small image-text dual encoder, the default extractor of metrics and the generators' text
encoder.

Two towers of about a million weights map 32x32 pictures and captions to one sphere in 64 dimensions, trained
with the symmetric contrastive loss of CLIP (Radford et al., arXiv 2103.00020, section 2.3) on captioned data
and on captions with one edit as further negatives (as NegCLIP, Yuksekgonul et al., arXiv 2210.01936). One
safetensors file holds the weights, the vocabulary, the recipe that made them and their held-out accuracy::

    python -m bench.tinyclip --data images:PATH --out my.safetensors
    python -m bench.tinyclip --describe my.safetensors
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from bench.encoders.tinyclip_header import FORMAT, SHIPPED, read_header
from bench.encoders.tinyclip_model import DualEncoder, TinyCLIPConfig, bicubic
from bench.encoders.tokenizer import Tokenizer
from bench.pretrained.preprocessing import check_uint8, file_digest
from flowbench._core import atomic
from flowbench._core.errors import UserError

MOST_UNKNOWN = 0.2
"""Share of words outside the vocabulary above which captions count as foreign."""
_CHUNK = 256


class TinyCLIP:
    """A trained encoder, ready for use; an ``Extractor``.

    Attributes: ``name`` (``tinyclip-`` and 8 hex digits of the file's sha256), ``preprocessing``, ``dim`` (of
    both kinds of features), ``tokens`` (L, tokens per caption), ``width`` (of a token),
    ``recipe`` (how the weights were made, with held-out accuracies), ``tokenizer``, ``device``.
    """

    preprocessing = "bicubic32"

    def __init__(
        self,
        model: DualEncoder,
        tokenizer: Tokenizer,
        name: str,
        recipe: Mapping[str, Any],
        device: str | torch.device,
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.tokenizer, self.name, self.recipe = tokenizer, name, dict(recipe)
        self.device = torch.device(device)
        self.dim, self.tokens, self.width = model.config.dim, tokenizer.length, model.config.text_width

    @torch.no_grad()
    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]``, C in {1, 3}, any size -> float32 ``[N, dim]`` on the CPU, of length
        ``sqrt(dim)``.

        That length makes one coordinate about 1 in size, so that Frechet distances have a stable scale. A
        picture's features do not depend on the others (GroupNorm), up to float32 rounding.

        Raises:
            UserError: another type or shape.
        """
        check_uint8(images)
        side = self.model.config.resolution
        return self._sphere(*self._chunks(lambda part: self.model.image(bicubic(part, side))[:1], images))

    def text_features(self, captions: Sequence[str]) -> Tensor:
        """Captions -> float32 ``[N, dim]`` of length ``sqrt(dim)``, on the sphere of
        :meth:`image_features`."""
        return self.encode_text(captions)[1]

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """``(tokens [N, L, width], pooled [N, dim])``, float32 on the CPU: what conditions a generator.

        Tokens have zero mean and unit variance over their width (layer norm without weights) and are zero on
        padding; ``pooled`` is :meth:`text_features`. The empty caption has no tokens but a pooled vector.
        """
        names = list(dict.fromkeys(captions))  # captions repeat; each is encoded once
        place = {caption: i for i, caption in enumerate(names)}
        rows = torch.tensor([place[caption] for caption in captions], dtype=torch.long)
        tokens, pooled = self._chunks(self.model.text, torch.from_numpy(self.tokenizer.encode(names)))
        return tokens[rows], self._sphere(pooled)[rows]

    def cut(self, captions: Iterable[str]) -> int:
        """How many captions are longer than it reads."""
        return self.tokenizer.truncated(captions)

    def unknown_words(self, captions: Sequence[str]) -> float:
        """The share of the captions' words that are outside the vocabulary."""
        return self.tokenizer.unknown(captions)

    def require_vocabulary(self, captions: Sequence[str], where: str) -> None:
        """Refuse captions of another world than that of training.

        Raises:
            UserError: more than a fifth of the words of ``where`` (a data spec) are unknown.
        """
        share = self.unknown_words(captions)
        if share > MOST_UNKNOWN:
            raise UserError(
                f"tinyclip was trained on other captions ({share:.0%} of the words of {where} are unknown): "
                f"train one with `python -m bench.tinyclip --data {where} --out my.safetensors` and "
                "pass `--extractor tinyclip:my.safetensors --text tinyclip:my.safetensors`"
            )

    def _sphere(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) * math.sqrt(self.dim)

    def _chunks(self, function: Callable[[Tensor], tuple[Tensor, ...]], rows: Tensor) -> list[Tensor]:
        """``function``'s outputs over parts of ``rows``, on the CPU; no rows give no rows of the right
        shape."""
        if not len(rows):
            return [out[:0].cpu() for out in function(rows.new_zeros((1, *rows.shape[1:])).to(self.device))]
        parts = [function(part.to(self.device)) for part in torch.split(rows, _CHUNK)]
        return [torch.cat([out.cpu() for out in outs]) for outs in zip(*parts, strict=True)]


def save(path: Path, model: DualEncoder, tokenizer: Tokenizer, recipe: Mapping[str, Any]) -> None:
    """Write one safetensors file, float16, whole or not at all; vocabulary and recipe lie in its metadata."""
    header = {
        "format": FORMAT,
        "config": asdict(model.config),
        "words": tokenizer.words,
        "length": tokenizer.length,
        "recipe": dict(recipe),
    }
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in model.state_dict().items()}
    whole = save_tensors(tensors, metadata={"tinyclip": json.dumps(header)})
    atomic.write_whole(path, lambda temporary: temporary.write_bytes(whole))


def load(path: Path | str | None = None, device: str | torch.device = "cpu") -> TinyCLIP:
    """The encoder of a weights file, by default the shipped one, in float32 on ``device``.

    Raises:
        UserError: no such file, or not one of ours.
    """
    path = SHIPPED if path is None else Path(path)
    header = read_header(path)
    config = TinyCLIPConfig(**{**header["config"], "channels": tuple(header["config"]["channels"])})
    with torch.random.fork_rng(devices=[]):  # building the modules draws numbers that the weights replace
        model = DualEncoder(replace(config))
    with safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    try:
        model.load_state_dict(state)
    except RuntimeError:
        raise UserError(
            f"{path}: the weights do not fit the sizes in its header; the file is damaged"
        ) from None
    tokenizer = Tokenizer(tuple(header["words"]), header["length"])
    return TinyCLIP(model, tokenizer, f"tinyclip-{file_digest(path)}", header["recipe"], device)
