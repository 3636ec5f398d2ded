"""The conformance check that an encoder must pass before it conditions or measures: images and captions of ``shapes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench.data import load
from bench.encoders.encoder import Encoder, Extractor, TextEncoder, extractor, get, text_encoder, text_parts
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.registry import blame

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

COUNT = 6
"""Images and captions that are encoded."""
NEAR = 1e-3
"""How far features may move, as a fraction of their largest, where the same image is encoded among others."""
LONG = " ".join(["a red circle above a blue square"] * 200)


def check(spec: str) -> list[str]:
    """Load the encoder on the CPU and run every check of what it declares; returns one line per passed check.

    Checked: at least one use is declared; features of images and captions have their shape and type, are finite, differ
    between images, and do not depend on the others that are encoded with them; gray images are read; tokens are zero behind
    a caption's end and outside of the declared parts, have the declared sizes, and captions that are too long are counted;
    another load has the same name and gives the same.

    Raises:
        UserError: the first check that fails, as one sentence; errors inside a plugin's functions name file and line.
    """
    encoder = get(spec)
    if not (encoder.images or encoder.tokens):
        raise _fail(spec, "it declares neither images nor tokens, so that nothing can use it")
    if encoder.texts and not encoder.images:
        raise _fail(spec, "it declares texts, which are compared with images, and no images")
    encoder.check()
    data = load("shapes", train=COUNT, validation=8)
    images = torch.from_numpy(data.train.reference[np.arange(COUNT)])
    captions = [*data.train.captions[: COUNT - 1], "a circle"]
    lines = []
    with blame(f"encoder {spec!r}"):
        if encoder.images:
            loaded = extractor(spec)
            lines += [_images(spec, encoder, loaded, images), _texts(spec, encoder, loaded, captions)]
            _again(spec, loaded, extractor(spec), images)
        if encoder.tokens:
            lines.append(_tokens(spec, encoder, text_encoder(spec), captions))
    return [line for line in lines if line]


def _fail(spec: str, what: str) -> UserError:
    return UserError(f"encoder {spec!r} fails its check: {what}")


def _features(spec: str, what: str, found: Any, rows: int, dim: int) -> Tensor:
    if not isinstance(found, torch.Tensor) or found.dtype != torch.float32 or found.device.type != "cpu":
        raise _fail(spec, f"features of {what} are no float32 tensor on the CPU")
    if tuple(found.shape) != (rows, dim):
        raise _fail(spec, f"features of {rows} {what} are {list(found.shape)}, not {[rows, dim]}")
    if not bool(found.isfinite().all()):
        raise _fail(spec, f"features of {what} are not finite")
    return found


def _apart(spec: str, what: str, together: Tensor, alone: Tensor) -> None:
    gap = float((together - alone).abs().max() / together.abs().max().clamp_min(1e-12))
    if gap > NEAR:
        raise _fail(spec, f"features of {what} move by {gap:.1e} with the others that are encoded with them")


def _images(spec: str, encoder: Encoder, loaded: Extractor, images: Tensor) -> str:
    found = _features(spec, "images", loaded.image_features(images), len(images), loaded.dim)
    if float((found[0] - found[1:]).abs().amax(dim=1).min()) == 0:
        raise _fail(spec, "two different images have the same features")
    _apart(spec, "images", found[:1], loaded.image_features(images[:1]))
    _features(spec, "gray images", loaded.image_features(images[:2, :1]), 2, loaded.dim)
    _features(spec, "images", loaded.image_features(images[:0]), 0, loaded.dim)
    if not encoder.image_flops > 0:
        raise _fail(spec, "image_flops, its operations for an image, must be declared")
    return f"images: {loaded.dim} features ({loaded.name}, {loaded.preprocessing})"


def _texts(spec: str, encoder: Encoder, loaded: Any, captions: list[str]) -> str:
    if encoder.texts != hasattr(loaded, "text_features"):
        raise _fail(spec, f"texts = {encoder.texts} is declared, and text_features says otherwise")
    if not encoder.texts:
        return ""
    found = _features(spec, "captions", loaded.text_features(captions), len(captions), loaded.dim)
    _apart(spec, "captions", found[:1], loaded.text_features(captions[:1]))
    return "texts: captions in the space of the images"


def _again(spec: str, one: Extractor, other: Extractor, images: Tensor) -> None:
    if one.name != other.name or not torch.equal(one.image_features(images), other.image_features(images)):
        raise _fail(spec, "another load has another name or other features: draw nothing at random")


def _parts(spec: str, encoder: Encoder, loaded: TextEncoder, tokens: Tensor, pooled: Tensor) -> None:
    parts = text_parts(loaded, tokens, pooled)
    if encoder.parts != tuple(part.name for part in getattr(loaded, "parts", ())):
        raise _fail(spec, f"it declares the parts {encoder.parts}, and what it loads has others")
    count, counts = torch.zeros(tokens.shape[1:]), torch.zeros(pooled.shape[1])
    for part in parts:
        count[slice(*part.tokens), slice(*part.channels)] += 1
        counts[slice(*part.pooled)] += 1
    if bool((count > 1).any()) or not bool((counts == 1).all()):
        raise _fail(spec, "its parts overlap, or leave out some of the pooled vector")
    if bool(tokens[:, count == 0].any()):
        raise _fail(spec, "tokens outside of all its parts are not zero")


def _tokens(spec: str, encoder: Encoder, loaded: TextEncoder, captions: list[str]) -> str:
    if absent := [name for name, file in encoder.text_files().items() if not file.is_file()]:
        raise _fail(spec, f"text_files() names {absent[0]!r}, and there is no such file")
    tokens, pooled = loaded.encode_text(captions)
    for what, found, axes in (("tokens", tokens, 3), ("pooled vectors", pooled, 2)):
        if found.dtype != torch.float32 or found.ndim != axes or len(found) != len(captions):
            raise _fail(spec, f"{what} of {len(captions)} captions are {found.dtype} {list(found.shape)}")
        if not bool(found.isfinite().all()):
            raise _fail(spec, f"{what} are not finite")
    _parts(spec, encoder, loaded, tokens, pooled)
    used = tokens.abs().amax(dim=2) > 0
    if bool((~used[:, :-1] & used[:, 1:]).any()):
        raise _fail(spec, "tokens behind a caption's end are not zero")
    alone, vector = loaded.encode_text(captions[:1])
    _apart(spec, "captions", tokens[:1, : alone.shape[1]], alone)
    _apart(spec, "captions", pooled[:1], vector)
    if (sizes := encoder.text_sizes()) and (
        (tokens.shape[1], tokens.shape[2], pooled.shape[1]) != (sizes.length, sizes.width, sizes.pooled)
    ):
        declared = f"{sizes.length} tokens of {sizes.width} and {sizes.pooled} pooled are declared"
        raise _fail(spec, f"{declared}, and {list(tokens.shape[1:])} and {pooled.shape[1]} are given")
    if loaded.cut([captions[0], LONG]) != 1:
        raise _fail(spec, "cut() must count the captions that are too long, and no others")
    if not encoder.caption_flops > 0:
        raise _fail(spec, "caption_flops, its operations for a caption, must be declared")
    again = text_encoder(spec)
    if again.name != loaded.name or not torch.equal(again.encode_text(captions)[0], tokens):
        raise _fail(spec, "another load has another name or other tokens: draw nothing at random")
    return f"tokens: {list(tokens.shape[1:])} and {pooled.shape[1]} pooled ({loaded.name})"
