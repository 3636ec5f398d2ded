"""Captions without padding: the same tokens wherever they are kept."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.encoders import text
from bench.encoders.encoder import TextPart
from bench.encoders.ragged_captions import Ragged
from bench.encoders.text import Captions, PaddedCaptions, RaggedCaptions, encode, placed
from bench.machine import resident
from flowbench._core.errors import UserError

CPU = torch.device("cpu")
PARTS = (
    TextPart("a", (0, 3), (0, 2), (0, 2)),
    TextPart("b", (0, 3), (2, 3), (2, 3)),
    TextPart("c", (3, 8), (0, 5), (3, 3)),
)
TEXTS = [f"caption {number}" for number in range(23)]


def some(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Tokens of three networks, the last of them with padding of zeros, and zeros outside of all."""
    tokens = torch.zeros(count, 8, 5)
    tokens[:, :3, :3] = torch.randn(count, 3, 3, generator=generator)
    tokens[:, 3:] = torch.randn(count, 5, 5, generator=generator)
    tokens[:, 3:] *= torch.arange(5)[:, None] < torch.randint(1, 4, (count, 1, 1), generator=generator)
    return tokens, torch.randn(count, 3, generator=generator)


class Networks:
    name, parts = "three", PARTS

    def __init__(self) -> None:
        every = some(torch.Generator().manual_seed(0), len(TEXTS))
        self.known = {caption: tuple(part[i] for part in every) for i, caption in enumerate(TEXTS)}

    def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens, pooled = (torch.stack(part) for part in zip(*(self.known[c] for c in captions), strict=True))
        return tokens, pooled

    def cut(self, captions: Sequence[str]) -> int:
        return 0


def found(room: int, patch: pytest.MonkeyPatch, chunk: int = 1024) -> Captions:
    """The captions, with that many bytes for them on the device."""
    patch.setattr(resident, "RESIDENT", room)
    return encode(Networks(), [*TEXTS, *TEXTS[::-1]], CPU, chunk)


@pytest.mark.parametrize("place", [0, 1])
def test_values_that_are_not_finite_are_refused(place: int) -> None:
    encoder = Networks()
    encoder.known[TEXTS[9]][place].view(-1)[0] = torch.nan
    with pytest.raises(
        UserError, match=f"three gives values that are not finite for the caption '{TEXTS[9]}'"
    ):
        encode(encoder, TEXTS, CPU, chunk=4)


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_padding_is_left_out_and_comes_back(seed: int, count: int) -> None:
    tokens, pooled = some(torch.Generator().manual_seed(seed), count)
    made = Ragged.of(PARTS, tokens, pooled)
    used = int((tokens.abs().amax(2) > 0).nonzero()[:, 1].max()) + 1
    assert int(made.ends.max()) == used
    assert sum(value.numel() for value in made.values) == int((tokens != 0).sum())
    rows = torch.tensor([0, count - 1, 0])
    for length in (used, 8):
        assert torch.equal(made.padded(rows, length)[0], tokens[rows, :length])
    both = Ragged.cat([made, made.take(rows)])
    again, vectors = both.padded(torch.arange(len(both)), 8)
    assert torch.equal(again, torch.cat([tokens, tokens[rows]]))
    assert torch.equal(vectors, torch.cat([pooled, pooled[rows]]))


def test_values_do_not_depend_on_where_captions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    padded, ragged, read = (found(room, monkeypatch, chunk=5) for room in (1 << 20, 2700, 0))
    assert isinstance(padded, PaddedCaptions)
    assert isinstance(ragged, RaggedCaptions)
    assert isinstance(read, RaggedCaptions)
    assert (ragged.resident, read.resident, len(read.shards)) == (True, False, 5)
    assert padded.read_bytes == ragged.read_bytes == 0
    assert padded.sizes == ragged.sizes == read.sizes == (6, 5, 3)
    rows = padded.rows([*TEXTS[::-1], TEXTS[3], TEXTS[3]])
    wanted, whole = padded[rows], Networks().encode_text([*TEXTS[::-1], TEXTS[3], TEXTS[3]])
    assert torch.equal(wanted[0], whole[0][:, :6])
    for captions in (ragged, read):
        assert torch.equal(captions.rows(TEXTS), padded.rows(TEXTS))
        for made, exact in zip(captions[rows], wanted, strict=True):
            assert torch.equal(made, exact)
    several = rows[:24].unflatten(0, (4, 6))
    drawn = read.drawn(several)
    assert sum(part.nbytes for part in drawn) == 24 * read.read_bytes
    for made, exact in zip(read.looked_up(*(part[2] for part in drawn)), padded[several[2]], strict=True):
        assert torch.equal(made, exact)


@pytest.mark.parametrize(("room", "kind"), [(1 << 20, "padded"), (350, "resident"), (0, "read")])
def test_of_many_captions_some_are_used(room: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others neither make tokens longer nor take place on the device."""
    networks, chosen = Networks(), [TEXTS[i] for i in (19, 2, 11, 3)]
    tokens, pooled = networks.encode_text(TEXTS)
    tokens[20:, 7] = 1
    shards = [Ragged.of(PARTS, tokens[i : i + 9].half(), pooled[i : i + 9]) for i in range(0, len(TEXTS), 9)]
    exact = networks.encode_text(chosen)
    used = int((exact[0] != 0).any(2).sum(1).max())
    assert used < 8
    monkeypatch.setattr(resident, "RESIDENT", room)
    captions = placed(shards, {caption: TEXTS.index(caption) for caption in chosen}, CPU)
    assert captions.sizes == (used, 5, 3)
    assert isinstance(captions, PaddedCaptions) == (kind == "padded")
    if isinstance(captions, RaggedCaptions):
        assert captions.resident == (kind == "resident")
        assert [len(shard) for shard in captions.shards] == ([4] if captions.resident else [9, 9, 5])
    made, vectors = captions[captions.rows(chosen)]
    assert made.dtype == torch.float32
    assert torch.equal(made, exact[0][:, :used].half().float())
    assert torch.equal(vectors, exact[1])


def test_captions_that_do_not_fit_into_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "available_memory", lambda: 1000.0)
    with pytest.raises(UserError, match=r"23 captions encoded by three take about .* bench\.encode --text"):
        found(0, monkeypatch, chunk=5)
