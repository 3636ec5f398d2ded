"""Encoded captions on disk: each once, whole or not at all, read as the encoder gave them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import encoders
from bench.config.presets import TEXT
from bench.data.encoding.write_latents import Part
from bench.data.latent_store import EncodingRecipe
from bench.encoders import caption_index, caption_store
from bench.encoders.caption_index import CaptionIndex
from bench.encoders.text import Captions, RaggedCaptions, encode
from bench.machine import resident
from flowbench._core import atomic
from flowbench._core.errors import UserError

from .small_models import WORDS, sd3_models, spec

CPU = torch.device("cpu")
TEXTS = [" ".join(WORDS[: 1 + i % 7]) + f" {WORDS[i % 8]}" * (2 * (i // 7)) for i in range(21)]
"""Of 1 to 11 words; CLIP reads 8 and an end."""


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three text models; T5 has zeros behind a caption's end."""
    return spec(sd3_models(tmp_path_factory.mktemp("sd3")), "clip_l", "clip_g", "t5", length=12, mask=True)


loaded = cache(encoders.text_encoder)
"""An encoder, loaded once."""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caption_store, "ROWS", 8)
    monkeypatch.setattr(caption_store, "text_encoder", loaded)


def written(folder: Path, sd3: str, texts: Sequence[str] = TEXTS) -> CaptionIndex:
    index = caption_store.write(folder, sd3, texts, "cpu", Part())
    assert index
    return index


def read(captions: Captions, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    return captions[captions.rows(texts)]


@pytest.mark.parametrize("room", [1 << 30, 40_000, 0])
def test_captions_are_those_of_the_encoder_in_half_precision(
    room: int, sd3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = written(tmp_path, sd3)
    assert (index.captions, len(index.shards)) == (21, 3)
    some = TEXTS[3:20]
    exact = encode(loaded(sd3, "cpu"), some, CPU)
    monkeypatch.setattr(resident, "RESIDENT", room)
    monkeypatch.setattr(caption_store, "text_encoder", None)  # is not needed
    found = caption_store.encoded(sd3, [*some, some[0]], CPU, tmp_path)
    assert isinstance(found.captions, RaggedCaptions) == (room < 1 << 30)
    assert found.captions.sizes == exact.sizes
    assert found.name == index.encoder + "-half"
    assert found.cut == loaded(sd3, "cpu").cut(some) > 0
    for made, wanted in zip(read(found.captions, some), read(exact, some), strict=True):
        torch.testing.assert_close(made, wanted, rtol=5e-4, atol=1e-6)
    assert torch.equal(read(found.captions, some)[1], read(exact, some)[1])


@pytest.mark.parametrize("room", [1 << 30, 0])
def test_the_empty_caption_is_read_from_disk(
    room: int, sd3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, sd3, [*TEXTS, ""])
    monkeypatch.setattr(resident, "RESIDENT", room)
    found = caption_store.encoded(sd3, [*TEXTS, ""], CPU, tmp_path).captions
    assert found.dropped_to("zeros") is found
    tokens, pooled = found.dropped_to("empty").unconditional(2)
    for made, wanted in zip((tokens, pooled), read(found, ["", ""]), strict=True):
        assert torch.equal(made, wanted)
    exact = loaded(sd3, "cpu").encode_text([""])
    torch.testing.assert_close(
        tokens[:1, : found.sizes[0]], exact[0][:, : found.sizes[0]], rtol=5e-4, atol=1e-6
    )


def test_a_store_without_the_empty_caption_names_the_command(sd3: str, tmp_path: Path) -> None:
    written(tmp_path, sd3)
    with pytest.raises(UserError, match=r"caption '' is not among .* `python -m bench\.encode --text sd3:"):
        caption_store.encoded(sd3, [*TEXTS, ""], CPU, tmp_path)


def test_an_empty_caption_of_zeros_is_refused() -> None:
    class Blank:
        name = "blank"

        def encode_text(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
            full = torch.tensor([float(bool(caption)) for caption in captions])
            return full[:, None, None].expand(-1, 3, 4), full[:, None].expand(-1, 2)

        def cut(self, captions: object) -> int:
            return 0

    captions = encode(Blank(), ["a", ""], CPU)
    with pytest.raises(UserError, match="gives zeros for the empty caption"):
        captions.dropped_to("empty")


def test_an_encoder_in_bf16_has_captions_of_its_own(sd3: str, tmp_path: Path) -> None:
    single, rounded = written(tmp_path, sd3), written(tmp_path, f"{sd3},precision=bf16")
    assert single.folder != rounded.folder
    assert rounded.name.endswith("-bf16-half")
    found = caption_store.encoded(f"{sd3},precision=bf16", TEXTS, torch.device("cpu"), tmp_path).captions
    expected = loaded(f"{sd3},precision=bf16").encode_text(TEXTS)[0].half().float()
    torch.testing.assert_close(read(found, TEXTS)[0], expected, atol=0.02, rtol=0.02)


def test_padding_is_not_stored(sd3: str, tmp_path: Path) -> None:
    """Of T5 with a mask what is a caption's own; of CLIP everything, as its padding is not zero."""
    index = written(tmp_path, sd3)
    tensors, about = atomic.read_tensors(index.folder / index.shards[0].file)
    ends = [min(len(text.split()) + 1, 12) for text in about["captions"]]
    assert tensors["t5.lengths"].tolist() == ends
    assert tensors["t5.values"].shape == (sum(ends), 48)
    assert tensors["clip_l.values"].shape == (8 * 9, 16)
    assert tensors["clip_g.values"].shape == (8 * 9, 24)
    assert {str(t.dtype) for name, t in tensors.items() if "values" in name} == {"torch.float16"}


def test_a_sample_takes_what_the_study_states(sd3: str, tmp_path: Path) -> None:
    """Its table 7: latents of mean and deviation, states and pooled vectors of three networks, 1,019,904 bytes."""
    unmasked = sd3.replace(",mask=True", "")
    sizes = encoders.get(unmasked).text_sizes()
    index = written(tmp_path, unmasked)
    tensors = [atomic.read_tensors(index.folder / shard.file)[0] for shard in index.shards]
    kept = sum(
        t.nbytes for part in tensors for name, t in part.items() if "values" in name or name == "pooled"
    )
    assert sizes
    assert kept == len(TEXTS) * sizes.bytes
    study = encoders.get(TEXT).text_sizes()
    latent = EncodingRecipe("", "", 256, 1, 0, "", "mean+std", (16, 32, 32), "").bytes
    assert study
    assert (latent, study.bytes) == (65_536, 946_176 + 8_192)
    assert latent + study.bytes == 1_019_904


def test_after_an_interruption_the_rest_is_encoded(sd3: str, tmp_path: Path) -> None:
    index = written(tmp_path / "whole", sd3)
    before = {file.name: file.read_bytes() for file in index.folder.iterdir()}
    kept = tmp_path / "part" / index.folder.name
    shutil.copytree(index.folder, kept)
    (kept / caption_index.INDEX).unlink()
    (kept / index.shards[0].file).unlink()
    cut = kept / index.shards[1].file
    cut.write_bytes(cut.read_bytes()[:-1])
    old = (kept / index.shards[2].file).stat().st_mtime_ns
    with pytest.raises(
        UserError, match=r"not all captions are encoded: `python -m bench\.encode --text sd3:"
    ):
        caption_store.encoded(sd3, TEXTS, CPU, tmp_path / "part")
    written(tmp_path / "part", sd3)
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before
    assert (kept / index.shards[2].file).stat().st_mtime_ns == old


def test_processes_share_the_work(sd3: str, tmp_path: Path) -> None:
    index = written(tmp_path / "one", sd3)
    assert caption_store.write(tmp_path / "two", sd3, TEXTS, "cpu", Part(1, 2)) is None
    folder = tmp_path / "two" / index.folder.name
    assert [file.name for file in folder.iterdir()] == [index.shards[1].file]
    assert caption_store.write(tmp_path / "two", sd3, TEXTS, "cpu", Part(0, 2))
    for file in index.folder.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_weights_that_lie_elsewhere_find_their_captions(sd3: str, tmp_path: Path) -> None:
    index = written(tmp_path, sd3)
    places = {Path(part.partition("=")[2]).parent for part in sd3.split(",")[:3]}
    shutil.copytree(places.pop(), tmp_path / "moved")
    moved = spec({name: tmp_path / "moved" / name for name in ("clip_l", "clip_g", "t5")}, "clip_l", "clip_g", "t5",
                 length=12, mask=True)  # fmt: skip
    assert caption_store.encoded(moved, TEXTS, CPU, tmp_path).name == index.name
    other = moved.replace("length=12", "length=11")
    assert not caption_store.encoded(other, TEXTS, CPU, tmp_path).name.endswith("-half")


def test_what_was_altered_is_found(sd3: str, tmp_path: Path) -> None:
    index = written(tmp_path, sd3)
    index.check()
    file = index.folder / index.shards[1].file
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(
        UserError, match=r"captions-00001\.safetensors is not as it was written: delete it, and `python"
    ):
        index.check()
    file.write_bytes(bytes(content[:-1]))
    with pytest.raises(UserError, match=r"captions-00001\.safetensors is absent, cut short, or not the one"):
        caption_store.encoded(sd3, TEXTS, CPU, tmp_path)


def test_a_caption_that_was_not_encoded(sd3: str, tmp_path: Path) -> None:
    written(tmp_path, sd3)
    with pytest.raises(UserError, match="the caption 'a new one' is not among the encoded ones"):
        caption_store.encoded(sd3, [*TEXTS, "a new one"], CPU, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), 65520.0, -float("inf")])
def test_states_that_half_precision_cannot_hold(
    value: float, sd3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = loaded(sd3, "cpu")
    encode_text = encoder.encode_text

    def overflowing(captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        tokens, pooled = encode_text(captions)
        for row, caption in zip(tokens, captions, strict=True):
            row[0, 0] = value if caption == TEXTS[9] else 65504.0
        return tokens, pooled

    monkeypatch.setattr(encoder, "encode_text", overflowing)
    with pytest.raises(UserError, match=rf"not finite or too large for half precision for '{TEXTS[9]}'"):
        written(tmp_path, sd3)
    assert written(tmp_path / "others", sd3, [text for text in TEXTS if text != TEXTS[9]])


def test_other_weights_do_not_overwrite(sd3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = written(tmp_path, sd3)
    monkeypatch.setattr(loaded(sd3, "cpu"), "name", "sd3-another")
    with pytest.raises(
        UserError, match=rf"holds 21 distinct captions encoded by {index.encoder}.* delete that folder"
    ):
        written(tmp_path, sd3)
