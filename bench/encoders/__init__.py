"""Encoders of images and captions: one file a kind of network; they condition generators and measure images.

Importing needs no torch. A plugin adds one with ``@register("mine(path)")`` on a function that returns an ``Encoder``.
"""

from bench.encoders import clip, dinov2, efficientnet, inception, sd3_text, sentences, sscd, tinyclip_file  # noqa: F401  (registers)
from bench.encoders.check_encoder import check
from bench.encoders.encoder import (
    Encoder,
    Extractor,
    TextEncoder,
    TextPart,
    TextSizes,
    canonical,
    extractor,
    features,
    get,
    reads_text,
    register,
    registry,
    require,
    text_encoder,
    text_features,
)

__all__ = [
    "Encoder",
    "Extractor",
    "TextEncoder",
    "TextPart",
    "TextSizes",
    "canonical",
    "check",
    "extractor",
    "features",
    "get",
    "reads_text",
    "register",
    "registry",
    "require",
    "text_encoder",
    "text_features",
]

registry.check = check
