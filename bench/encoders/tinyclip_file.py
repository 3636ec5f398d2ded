"""A file of `tinyclip` weights as an encoder. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.encoders.encoder import Encoder, TextSizes, register
from bench.encoders.tinyclip_header import SHIPPED, read_header
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    from bench.encoders.tinyclip_encoder import TinyCLIP


class TinyCLIPFile(Encoder):
    """A file of `tinyclip` weights, by default the shipped one."""

    images = texts = tokens = True
    image_flops, caption_flops = 5e7, 1e6
    """Those of an image with the composition of ``shapes``."""

    def __init__(self, path: str | None) -> None:
        self.path = Path(path).expanduser() if path else SHIPPED
        if not self.path.is_file():  # a plan needs its sizes
            raise UserError(f"tinyclip:{path}: there is no file {path}, `python -m bench.tinyclip` makes one")

    def load(self, device: str) -> TinyCLIP:
        from bench.encoders import tinyclip_encoder  # imports torch

        return tinyclip_encoder.load(self.path, device)

    def check(self) -> None:
        read_header(self.path)

    def check_words(self, captions: Sequence[str], where: str) -> None:
        if captions:
            self.load("cpu").require_vocabulary(captions, where)

    def text_files(self) -> dict[str, Path]:
        return {"weights": self.path}

    def text_sizes(self) -> TextSizes:
        about = read_header(self.path)
        return TextSizes(about["length"], 0, about["config"]["text_width"], about["config"]["dim"])


@register("tinyclip(path)")
def tinyclip(path: str | None = None) -> Encoder:
    """The dual encoder shipped with this package, or one trained with ``python -m bench.tinyclip``."""
    return TinyCLIPFile(path)
