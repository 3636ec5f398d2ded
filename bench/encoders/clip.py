"""CLIP features, run as transformers documents it or as torchmetrics' CLIPScore runs it.

The features are the projected ones (768 for ViT-L/14), not normalised. Two libraries, two recipes:

* ``transformers``: images go through the model's own processor on Pillow (antialiased bicubic to the short
  side, centre crop); captions are cut to the model's length and keep their end token.
* ``torchmetrics``: images go as uint8 tensors through the processor that CLIPScore chooses; captions that are
  too long lose their end token, as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.encoders.encoder import Encoder, TextSizes, register
from bench.pretrained.hub import Place, described, image_processor, settings
from bench.pretrained.precision import USUAL, check_precision, computing, suffix
from bench.pretrained.preprocessing import image_features, pillow, weights_digest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Library = Literal["transformers", "torchmetrics"]
BATCH = 32


class CLIP:
    """Image and text features of one CLIP model."""

    def __init__(
        self, model: Any, images: Any, tokenizer: Any, device: str, library: Library, precision: str
    ) -> None:
        self._model = model.float().eval()
        self._images, self._tokenizer = images, tokenizer
        self._device, self._library = device, library
        self._length = int(model.config.text_config.max_position_embeddings)
        self.dim = int(model.config.projection_dim)
        self.preprocessing = described(images)
        made = [settings(images), sorted(tokenizer.get_vocab().items())]
        prefix = "clip" if library == "transformers" else "torchmetrics"
        self.name = f"{prefix}-{weights_digest(model.state_dict(), made)}{suffix(precision)}"
        computing(model, device, precision)

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]`` to float32 ``[N, dim]``."""
        return image_features(images, self._image_batch, self.dim)

    def text_features(self, captions: Sequence[str]) -> Tensor:
        """Captions to float32 ``[N, dim]``."""
        texts = list(captions)
        with torch.no_grad():
            parts = [self._text_batch(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, self.dim)

    def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """What a generator is conditioned on, float32 on the CPU.

        Tokens ``[N, L, W]``: the text tower's states before its last layer (as arXiv 2403.03206, appendix B.1), normalised
        to mean 0 and deviation 1 over W, and zero after the caption's end. Pooled ``[N, D]``: the projected text feature
        at norm sqrt(D).
        """
        texts = list(captions)
        parts = [self._states(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        pooled = torch.nn.functional.normalize(self.text_features(texts), dim=-1) * self.dim**0.5
        return torch.cat(parts), pooled

    def cut(self, captions: Iterable[str]) -> int:
        """How many captions are longer than it reads."""
        texts = list(captions)
        parts = [self._tokenizer(texts[i : i + 1024], verbose=False) for i in range(0, len(texts), 1024)]
        return sum(len(ids) > self._length for part in parts for ids in part["input_ids"])

    def _states(self, texts: list[str]) -> Tensor:
        ids, mask = self._ids(texts)
        with torch.no_grad():
            found = self._model.text_model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        states = found.hidden_states[-2].float()
        states = torch.nn.functional.layer_norm(states, states.shape[-1:]) * mask[..., None]
        out: Tensor = states.cpu()
        return out

    def _image_batch(self, batch: Tensor) -> Tensor:
        if self._library == "torchmetrics":
            given: list[Any] = list(batch.cpu())
        else:
            given = pillow(batch)
        pixels = self._images(images=given, return_tensors="pt")["pixel_values"]
        return _tensor(
            self._model.get_image_features(pixel_values=pixels.to(self._device, self._model.dtype))
        )

    def _text_batch(self, texts: list[str]) -> Tensor:
        ids, mask = self._ids(texts)
        return _tensor(self._model.get_text_features(input_ids=ids, attention_mask=mask))

    def _ids(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        if self._library == "torchmetrics":
            tokens = self._tokenizer(texts, return_tensors="pt", padding=True)
        else:
            tokens = self._tokenizer(
                texts, return_tensors="pt", padding="max_length", truncation=True, max_length=self._length
            )
        ids = tokens["input_ids"][:, : self._length].to(self._device)
        mask = tokens["attention_mask"][:, : self._length].to(self._device)
        return ids, mask


def _through_torchmetrics(model: Any, tokenizer: Any, images: Any) -> tuple[Any, Any, Any]:
    """The model, tokenizer and processor that torchmetrics' CLIPScore holds when it is given these weights."""
    from torchmetrics.multimodal import CLIPScore
    from transformers import CLIPProcessor

    processor = CLIPProcessor(images, tokenizer)
    metric = CLIPScore(model_name_or_path=lambda: (model, processor))
    return metric.model, metric.processor.tokenizer, metric.processor.image_processor


def _tensor(output: Any) -> Tensor:
    """Features as a float32 tensor: transformers 5 returns them as ``pooler_output``, earlier ones bare."""
    features: Tensor = getattr(output, "pooler_output", output)
    return features.float().cpu()


class CLIPWeights(Encoder):
    """A CLIP model of transformers; its operations are those of ViT-L/14."""

    images = texts = tokens = True
    image_flops, caption_flops = 1.6e11, 1.3e10

    def __init__(self, where: str, library: Library, precision: str = USUAL) -> None:
        self.library, self.precision = library, precision
        check_precision(f"encoder 'clip:{where}'", precision)
        self.place = Place(where, "clip" if library == "transformers" else "torchmetrics", "CLIP")

    def load(self, device: str) -> CLIP:
        self.place.check()  # before transformers is imported
        images = image_processor() if self.library == "transformers" else "CLIPImageProcessor"
        parts = self.place.load("CLIPModel", "AutoTokenizer", images)
        model, tokenizer, processor = (
            parts if self.library == "transformers" else _through_torchmetrics(*parts)
        )
        return CLIP(model, processor, tokenizer, device, self.library, self.precision)

    def check(self) -> None:
        self.place.check()

    def text_files(self) -> dict[str, Path]:
        return self.place.files()

    def text_sizes(self) -> TextSizes | None:
        with suppress(KeyError, TypeError):
            config = self.place.config()
            text = config["text_config"]
            sizes = text["max_position_embeddings"], 2, text["hidden_size"], config["projection_dim"]
            return TextSizes(*sizes)
        return None


@register("clip(path,precision)")
def clip(path: str, precision: str = USUAL) -> Encoder:
    """transformers' CLIPModel in a folder or by its name in the user's cache, with Pillow preprocessing."""
    return CLIPWeights(path, "transformers", precision)


@register("torchmetrics(path)")
def torchmetrics(path: str) -> Encoder:
    """The same weights as torchmetrics' CLIPScore runs them."""
    return CLIPWeights(path, "torchmetrics")
