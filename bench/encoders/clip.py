"""CLIP features, run as transformers documents it or as torchmetrics' CLIPScore runs it.

The features are the projected ones (768 for ViT-L/14), not normalised. Two libraries, two recipes:

* ``transformers``: images go through the model's own processor on Pillow (antialiased bicubic to the short
  side, centre crop); captions are cut to the model's length and keep their end token.
* ``torchmetrics``: images go as uint8 tensors through the processor that CLIPScore chooses; captions that are
  too long lose their end token, as there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.encoders.encoder import Encoder, TextSizes, register
from bench.encoders.preprocessing import rgb, weights_digest
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

Library = Literal["transformers", "torchmetrics"]
BATCH = 32
WEIGHTS = tuple(
    f"{stem}{index}" for stem in ("model.safetensors", "pytorch_model.bin") for index in ("", ".index.json")
)
"""Files with a model's weights, or with where their parts are; a model has one."""


class CLIP:
    """Image and text features of one CLIP model."""

    def __init__(self, model: Any, images: Any, tokenizer: Any, device: str, library: Library) -> None:
        self._model = model.float().eval().to(device)
        self._images, self._tokenizer = images, tokenizer
        self._device, self._library = device, library
        self._length = int(model.config.text_config.max_position_embeddings)
        self.dim = int(model.config.projection_dim)
        self.preprocessing = _describe(images)
        settings = [_settings(images), sorted(tokenizer.get_vocab().items())]
        prefix = "clip" if library == "transformers" else "torchmetrics"
        self.name = f"{prefix}-{weights_digest(model.state_dict(), settings)}"

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 ``[N, C, H, W]`` to float32 ``[N, dim]``."""
        images = rgb(images)
        with torch.no_grad():
            parts = [self._image_batch(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, self.dim)

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
            from PIL import Image

            given = [Image.fromarray(image) for image in batch.permute(0, 2, 3, 1).cpu().numpy()]
        pixels = self._images(images=given, return_tensors="pt")["pixel_values"]
        return _tensor(self._model.get_image_features(pixel_values=pixels.to(self._device)))

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


def check(where: str, library: Library = "transformers") -> None:
    """Raise `UserError` if there is no model in the folder ``where``, or of that name in the user's cache. Loads nothing."""
    for names in (("config.json",), WEIGHTS):
        if not any(_there(where, name) for name in names):
            raise UserError(_absent(where, library, FileNotFoundError(f"it has no {' and no '.join(names)}")))


def _there(where: str, name: str) -> bool:
    """Whether a model has a file."""
    return file_of(where, name) is not None


def file_of(where: str, name: str) -> Path | None:
    """A file of the model in the folder ``where``, or of that name in the user's cache."""
    if Path(where).is_dir():
        file = Path(where) / name
        return file if file.is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(where, name)
    except HFValidationError:  # a path, and not there
        return None
    return Path(found) if isinstance(found, str) else None


def load(where: str, device: str = "cpu", *, library: Library = "transformers") -> CLIP:
    """The CLIP model in the folder ``where``, or of that name in the user's cache; nothing is downloaded.

    Raises `UserError` if it is absent, unreadable or lacks weights (transformers would draw those at random).
    """
    check(where, library)
    import transformers

    local: dict[str, Any] = {"local_files_only": True}
    try:
        with _quiet(transformers):
            model, info = transformers.CLIPModel.from_pretrained(where, output_loading_info=True, **local)
            tokenizer = transformers.AutoTokenizer.from_pretrained(where, **local)
            images = _image_processor(transformers, library).from_pretrained(where, **local)
    except Exception as error:  # each library below raises its own kinds; the user needs one sentence
        raise UserError(_absent(where, library, error)) from error
    if info["missing_keys"] or info.get("mismatched_keys"):
        key = sorted([*info["missing_keys"], *map(str, info.get("mismatched_keys") or [])])[0]
        raise UserError(f"{where!r} is not a whole CLIP model: it lacks weights, among them {key!r}")
    if library == "torchmetrics":
        model, images, tokenizer = _through_torchmetrics(model, images, tokenizer)
    return CLIP(model, images, tokenizer, device, library)


def _through_torchmetrics(model: Any, images: Any, tokenizer: Any) -> tuple[Any, Any, Any]:
    """The model and processor that torchmetrics' CLIPScore holds when it is given these weights."""
    from torchmetrics.multimodal import CLIPScore
    from transformers import CLIPProcessor

    processor = CLIPProcessor(images, tokenizer)
    metric = CLIPScore(model_name_or_path=lambda: (model, processor))
    return metric.model, metric.processor.image_processor, metric.processor.tokenizer


def _image_processor(transformers: Any, library: Library) -> Any:
    # transformers 5 has a Pillow and a torchvision version; before 5 the plain name was the Pillow one.
    if library == "transformers" and hasattr(transformers, "CLIPImageProcessorPil"):
        return transformers.CLIPImageProcessorPil
    return transformers.CLIPImageProcessor


def _absent(where: str, library: Library, error: BaseException) -> str:
    spec = "clip" if library == "transformers" else "torchmetrics"
    if Path(where).is_dir():
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"the folder {where!r} holds no CLIP model that transformers can read: {reason}"
    return (
        f"no CLIP weights {where!r}: it is no folder, and the name is not in your cache;"
        f" fetch it once with `hf download NAME`, or give {spec}:FOLDER"
    )


def _settings(images: Any) -> dict[str, Any]:
    names = ("size", "crop_size", "do_center_crop", "resample", "rescale_factor", "image_mean", "image_std")
    values = {name: getattr(images, name, None) for name in names}
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, str, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, int):
        return int(value)
    return {k: v for k, v in dict(value).items() if v is not None}


def _describe(images: Any) -> str:
    """E.g. ``pil-bicubic224-crop224``: library, filter, short side (or height x width), centre crop."""
    settings = _settings(images)
    kinds = {kind.__name__ for kind in type(images).__mro__}
    backend = "torchvision" if kinds & {"TorchvisionBackend", "BaseImageProcessorFast"} else "pil"
    filters = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
    size, crop = settings["size"], settings["crop_size"]
    side = size.get("shortest_edge") or f"{size['height']}x{size['width']}"
    text = f"{backend}-{filters.get(settings['resample'], settings['resample'])}{side}"
    if settings["do_center_crop"]:
        square = crop["height"] == crop["width"]
        text += f"-crop{crop['height']}" if square else f"-crop{crop['height']}x{crop['width']}"
    return text


def _tensor(output: Any) -> Tensor:
    """Features as a float32 tensor: transformers 5 returns them as ``pooler_output``, earlier ones bare."""
    features: Tensor = getattr(output, "pooler_output", output)
    return features.float().cpu()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no advice while loading."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


class CLIPWeights(Encoder):
    """A CLIP model of transformers; its operations are those of ViT-L/14."""

    images = texts = tokens = True
    image_flops, caption_flops = 1.6e11, 1.3e10

    def __init__(self, where: str, library: Library) -> None:
        self.where, self.library = where, library

    def load(self, device: str) -> CLIP:
        return load(self.where, device, library=self.library)

    def check(self) -> None:
        check(self.where, self.library)

    def text_sizes(self) -> TextSizes | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            if file := file_of(self.where, "config.json"):
                config = json.loads(file.read_text(encoding="utf-8"))
                text = config["text_config"]
                sizes = text["max_position_embeddings"], 2, text["hidden_size"], config["projection_dim"]
                return TextSizes(*sizes)
        return None


@register("clip(path)")
def clip(path: str) -> Encoder:
    """transformers' CLIPModel in a folder or by its name in the user's cache, with Pillow preprocessing."""
    return CLIPWeights(path, "transformers")


@register("torchmetrics(path)")
def torchmetrics(path: str) -> Encoder:
    """The same weights as torchmetrics' CLIPScore runs them."""
    return CLIPWeights(path, "torchmetrics")
