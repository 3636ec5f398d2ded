"""What a file of `tinyclip` weights records besides its tensors, and the encoder that it is. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from bench.encoders.encoder import Encoder, TextSizes, register
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from bench.encoders.tinyclip_encoder import TinyCLIP

FORMAT = 1
SHIPPED = Path(__file__).parent / "weights" / "tinyclip.safetensors"


def read_header(path: Path) -> dict[str, Any]:
    """The JSON metadata of a weights file: format, config, words, length, recipe.

    Raises:
        UserError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise UserError(
            f"no tinyclip weights at {path}: make them with `python -m bench.tinyclip --out {path}`"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("tinyclip")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from None
    if text is None:
        raise UserError(f"{path} holds no tinyclip (they are made by `python -m bench.tinyclip`)")
    header: dict[str, Any] = json.loads(text)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} has tinyclip format {header.get('format')}, this version reads {FORMAT}")
    return header


class TinyCLIPFile(Encoder):
    """A file of `tinyclip` weights, by default the shipped one."""

    images = texts = tokens = True
    image_flops, caption_flops = 5e7, 1e6
    """Those of an image with the composition of ``shapes``."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path) if path else SHIPPED

    def load(self, device: str) -> TinyCLIP:
        from bench.encoders import tinyclip_encoder  # imports torch

        return tinyclip_encoder.load(self.path, device)

    def check(self) -> None:
        read_header(self.path)

    def check_words(self, captions: Sequence[str], where: str) -> None:
        if captions:
            self.load("cpu").require_vocabulary(captions, where)

    def text_sizes(self) -> TextSizes:
        about = read_header(self.path)
        return TextSizes(about["length"], 0, about["config"]["text_width"], about["config"]["dim"])


@register("tinyclip(path)")
def tinyclip(path: str | None = None) -> Encoder:
    """The dual encoder shipped with this package, or one trained with ``python -m bench.tinyclip``."""
    return TinyCLIPFile(path)
