"""The text conditioning of the study (arXiv 2403.03206, appendix B.1): two CLIP text models and T5, joined.

    tokens = [ pad( CLIP-L states | CLIP-G states ) ; T5 states ]     pooled = CLIP-L pooled | CLIP-G pooled

``|`` joins channels and ``;`` tokens; ``pad`` fills with zeros up to T5's width. States of CLIP are those before its last
layer, without the final norm; T5's are its last. No attention mask is used, so padding is text like any other; with
``mask`` T5 does not attend to it, and its states there are zero. Where published code differs, an option says which:
``pooled`` of CLIP-L (``state`` as in the study's reference code, ``projected`` as in diffusers) and ``padding`` of CLIP-G's
captions (token 0 as there, or its ``end`` token).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.encoders.encoder import Encoder, TextPart, TextSizes, register
from bench.encoders.sentences import States
from bench.pretrained.hub import Place
from bench.pretrained.precision import USUAL, check_precision, computing, suffix
from bench.pretrained.preprocessing import form, weights_digest
from flowbench._core.errors import UserError, nearest, refusals, refuse
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor
else:
    torch = lazy("torch")

BATCH = 32
STUDY: dict[str, dict[str, Any]] = {
    "clip_l": {"max_position_embeddings": 77, "hidden_size": 768, "projection_dim": 768},
    "clip_g": {"max_position_embeddings": 77, "hidden_size": 1280, "projection_dim": 1280},
    "t5": {"d_model": 4096},
}
"""Sizes of the study's networks, for an estimate before they are there."""
CLIP_FLOPS, T5_FLOPS = 8e10, 7e11
"""Operations for a caption, of CLIP-L and CLIP-G together and of T5 XXL."""


class Tower:
    """One CLIP text model: the states before its last layer, and the pooled vector at the first end token."""

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Any,
        padding: int | None,
        projected: bool,
        device: str,
        precision: str,
    ) -> None:
        self.model, self.tokenizer, self.device = model.float().eval(), tokenizer, device
        self.name = name
        self.width = int(model.config.hidden_size)
        self.pooled = int(model.config.projection_dim) if projected else self.width
        self.length = int(model.config.max_position_embeddings)
        self.padding = tokenizer.eos_token_id if padding is None else padding
        self.projected = projected
        made = [self.padding, projected, form(model.config), sorted(tokenizer.get_vocab().items())]
        self.digest = weights_digest(model.state_dict(), made) + suffix(precision)
        computing(model, device, precision)

    def __call__(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """States ``[N, L, width]`` and pooled vectors ``[N, pooled]``."""
        given = self.tokenizer(
            texts, return_tensors="pt", padding="max_length", truncation=True, max_length=self.length
        )
        ids = given["input_ids"].masked_fill(given["attention_mask"] == 0, self.padding).to(self.device)
        found = self.model(input_ids=ids, output_hidden_states=True)
        ends = (ids == self.tokenizer.eos_token_id).int().argmax(1)
        pooled = found.last_hidden_state[torch.arange(len(ids), device=ids.device), ends]
        return found.hidden_states[-2], self.model.text_projection(pooled) if self.projected else pooled

    def too_long(self, texts: list[str]) -> list[bool]:
        """Which captions it cuts."""
        return [len(ids) > self.length for ids in self.tokenizer(texts, verbose=False)["input_ids"]]


class Joined:
    """What is loaded of the three, joined. An encoder that is not given has no place in tokens or pooled vector."""

    def __init__(self, towers: Sequence[Tower], t5: States | None, precision: str) -> None:
        self.towers, self.t5 = tuple(towers), t5
        digests = [*(tower.digest for tower in towers), t5.name if t5 else None]
        self.name = f"sd3-{hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:8]}{suffix(precision)}"
        self.parts = self._parts()

    def _parts(self) -> tuple[TextPart, ...]:
        """Where each of them is; T5 has no pooled vector."""
        found, channel, pooled = [], 0, 0
        for tower in self.towers:
            ends = channel + tower.width, pooled + tower.pooled
            found.append(TextPart(tower.name, (0, tower.length), (channel, ends[0]), (pooled, ends[1])))
            channel, pooled = ends
        if self.t5:
            first = self.towers[0].length
            found.append(
                TextPart("t5", (first, first + self.t5.length), (0, self.t5.width), (pooled, pooled))
            )
        return tuple(found)

    def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens ``[N, L, width]`` and pooled vectors ``[N, pooled]``, float32 on the CPU."""
        texts = list(captions)
        with torch.no_grad():
            parts = [self._encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
        tokens, pooled = (torch.cat(part) for part in zip(*parts, strict=True))
        return tokens, pooled

    def cut(self, captions: Iterable[str]) -> int:
        """How many captions are longer than one of the encoders reads."""
        texts = list(captions)
        parts = [tower.too_long(texts) for tower in self.towers]
        if self.t5:
            parts.append(self.t5.too_long(texts))
        return sum(map(any, zip(*parts, strict=True)))

    def unknown(self, captions: Iterable[str]) -> int:
        """How many captions are at least half of tokens outside of T5's vocabulary; CLIP's has every byte."""
        return self.t5.unknown(captions) if self.t5 else 0

    def _encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        states, pooled = zip(*(tower(texts) for tower in self.towers), strict=True)
        tokens = torch.cat(states, -1)
        if self.t5:
            last, _ = self.t5.states(texts)
            tokens = torch.cat(
                [torch.nn.functional.pad(tokens, (0, last.shape[-1] - tokens.shape[-1])), last], 1
            )
        return tokens.float().cpu(), torch.cat(pooled, -1).float().cpu()


class SD3Text(Encoder):
    """Up to three text models by their places."""

    tokens = True

    def __init__(
        self,
        places: dict[str, str],
        length: int,
        pooled: Literal["state", "projected"],
        padding: int | None,
        mask: bool,
        precision: str,
    ) -> None:
        self.length, self.pooled, self.padding, self.mask = length, pooled, padding, mask
        self.precision = precision
        check_precision("--text sd3", precision)
        kinds = {"clip_l": "CLIP text", "clip_g": "CLIP text", "t5": "T5"}  # in the order of the parts
        self.places = {
            name: Place(where, f"--text sd3:{name}=", kinds[name]) for name, where in places.items() if where
        }
        if not self.places.keys() & {"clip_l", "clip_g"}:
            raise UserError(
                "--text sd3: name clip_l=PATH or clip_g=PATH, whose pooled vectors modulate the network"
            )
        self.parts, self.sets = tuple(self.places), 1 + ("t5" in self.places)
        self.caption_flops = CLIP_FLOPS + T5_FLOPS * ("t5" in self.places)

    def check(self) -> None:
        refuse(refusals(place.check for place in self.places.values()))

    def load(self, device: str) -> Joined:
        self.check()
        towers = []
        for name in ("clip_l", "clip_g"):
            if name in self.places:
                model, tokenizer = self.places[name].load("CLIPTextModelWithProjection", "AutoTokenizer")
                first = name == "clip_l"
                padding, projected = (None, self.pooled == "projected") if first else (self.padding, True)
                towers.append(Tower(name, model, tokenizer, padding, projected, device, self.precision))
        t5 = None
        if "t5" in self.places:
            model, tokenizer = self.places["t5"].load("T5EncoderModel", "AutoTokenizer")
            t5 = States(model, tokenizer, "t5", self.length, self.mask, device, self.precision)
            if (width := sum(tower.width for tower in towers)) > t5.width:
                raise UserError(f"--text sd3: CLIP's {width} channels cannot be filled up to T5's {t5.width}")
        return Joined(towers, t5, self.precision)

    def text_files(self) -> dict[str, Path]:
        each = {name: place.files() for name, place in self.places.items()}
        return {f"{name}/{file}": path for name, files in each.items() for file, path in files.items()}

    def text_sizes(self) -> TextSizes | None:
        with suppress(KeyError, TypeError):
            about = {name: place.config() or STUDY[name] for name, place in self.places.items()}
            text = {name: each.get("text_config", each) for name, each in about.items() if name != "t5"}
            length = max(each["max_position_embeddings"] for each in text.values())
            width = sum(each["hidden_size"] for each in text.values())
            filled = sum(each["max_position_embeddings"] * each["hidden_size"] for each in text.values())
            pooled = sum(
                each["hidden_size"]
                if name == "clip_l" and self.pooled == "state"
                else about[name]["projection_dim"]
                for name, each in text.items()
            )
            if "t5" in about:
                wide = about["t5"]["d_model"]
                return TextSizes(length + self.length, 4, wide, pooled, filled + self.length * wide)
            return TextSizes(length, 2, width, pooled, filled)
        return None


@register("sd3(clip_l,clip_g,t5,length,pooled,padding,mask,precision)")
def sd3(
    clip_l: str = "",
    clip_g: str = "",
    t5: str = "",
    length: int = 77,
    pooled: str = "state",
    padding: str = "zero",
    mask: bool = False,
    precision: str = USUAL,
) -> Encoder:
    """CLIP-L, CLIP-G and T5 joined as in the study, or any of them with a CLIP."""
    for name, value, known in (
        ("pooled", pooled, ("state", "projected")),
        ("padding", padding, ("zero", "end")),
    ):
        if value not in known:
            raise UserError(f"--text sd3: {name}={value} is not known; {nearest(value, known)}")
    if length < 2:
        raise UserError(f"--text sd3: length={length} must be 2 or more, for example 77")
    places = {"clip_l": clip_l, "clip_g": clip_g, "t5": t5}
    state: Literal["state", "projected"] = "state" if pooled == "state" else "projected"
    return SD3Text(places, length, state, 0 if padding == "zero" else None, mask, precision)
