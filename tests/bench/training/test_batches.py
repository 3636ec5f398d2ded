"""Common random numbers: what every formulation of a seed sees at a step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.config.experiment import Evaluation
from bench.config.seeds import seed_for
from bench.encoders.encoder import TextPart
from bench.encoders.text import PaddedCaptions, encode
from bench.training.batches import LEVELS, Batches, validation_batch
from bench.worker.setup import Setup, choose

CPU = torch.device("cpu")


def batches(setup: Setup, seed: int = 0, size: int = 10, dropout: float = 0.1) -> Batches:
    return Batches(setup.data, setup.captions, seed, size, dropout, CPU)


def test_seeds_are_golden() -> None:
    assert (
        seed_for("noise", 0, 7)
        == int.from_bytes(__import__("hashlib").sha256(b'["flowbench-1","noise",0,7]').digest()[:8], "big")
        >> 1
    )
    assert seed_for("noise", 0, 7) != seed_for("noise", 7, 0) != seed_for("u", 0, 7)


def test_a_step_can_be_made_again_at_any_time(setup: Setup) -> None:
    one, other = batches(setup), batches(setup)
    for step in (5, 0, 23, 5):
        for a, b in zip(one.at(step), other.at(step), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(one.u(step), other.u(step))


def test_seeds_and_steps_differ(setup: Setup) -> None:
    first, second, other = batches(setup).at(0), batches(setup).at(1), batches(setup, seed=1).at(0)
    assert not torch.equal(first.noise, second.noise)
    assert not torch.equal(first.noise, other.noise)
    assert not torch.equal(first.x, other.x)


def test_u_is_stratified(setup: Setup) -> None:
    for step in range(5):
        u = batches(setup, size=16).u(step)
        assert u.dtype == torch.float64
        assert sorted((u * 16).floor().tolist()) == list(range(16))
        assert not torch.equal(u, u.sort().values), "strata must not be tied to the order of the images"


def test_an_epoch_sees_every_image_once_and_epochs_differ(setup: Setup) -> None:
    made, count = batches(setup, size=10), len(setup.data.train)
    seen = np.concatenate([made.order(step) for step in range(2 * count // 10 + 1)])
    assert sorted(seen[:count]) == list(range(count))
    assert sorted(seen[count : 2 * count]) == list(range(count))
    assert not np.array_equal(seen[:count], seen[count : 2 * count])


def test_images_keep_their_captions(setup: Setup) -> None:
    made = batches(setup, dropout=0.0)
    rows, batch = made.order(3), made.at(3)
    tokens, pooled = setup.captions[setup.captions.rows([setup.data.train.captions[r] for r in rows])]
    assert torch.equal(batch.tokens, tokens)
    assert torch.equal(batch.pooled, pooled)
    assert torch.equal(setup.data.decode(batch.x), torch.from_numpy(setup.data.train.reference[rows]))


class Counted:
    """Rows of a file on disk; notes how many were read at once."""

    def __init__(self, path: Path, array: np.ndarray) -> None:
        np.save(path, array)
        self.array, self.read = np.load(path, mmap_mode="r"), list[int]()
        self.shape = self.array.shape

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.read.append(len(rows))
        return self.array[rows]


def test_batches_read_from_disk_are_those_of_memory(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [batches(setup).at(step) for step in range(14)]
    rows = Counted(tmp_path / "x.npy", setup.data.train.reference)
    data = replace(setup.data, train=replace(setup.data.train, reference=rows))
    kept = Batches(data, setup.captions, 0, 10, 0.1, CPU)
    assert sum(rows.read) == len(data.train), "a small set is read once, and stays"
    monkeypatch.setattr("bench.machine.resident.RESIDENT", 0)
    rows.read.clear()
    streamed = Batches(data, setup.captions, 0, 10, 0.1, CPU)
    assert streamed.inputs.kept is None
    drawn = streamed.draw(range(14))
    assert rows.read == [140], "no more than the batches that are drawn"
    for step, batch in enumerate(wanted):
        for made in (kept.at(step), streamed.at(step), streamed.look_up(drawn, step)):
            assert all(torch.equal(a, b) for a, b in zip(made, batch, strict=True))


@pytest.mark.parametrize(("dropout", "low", "high"), [(0.0, 0, 0), (1.0, 1, 1), (0.1, 0.05, 0.15)])
def test_captions_are_dropped_whole_at_the_stated_rate(
    setup: Setup, dropout: float, low: float, high: float
) -> None:
    made = batches(setup, size=64, dropout=dropout)
    gone = []
    for step in range(15):
        batch = made.at(step)
        without_tokens, without_pooled = (
            batch.tokens.flatten(1).norm(dim=1) == 0,
            batch.pooled.norm(dim=1) == 0,
        )
        assert torch.equal(without_tokens, without_pooled)
        gone.append(without_tokens.double().mean().item())
    assert low <= np.mean(gone) <= high


def in_three(setup: Setup) -> Setup:
    """Captions as of three networks: two side by side in the first three tokens, the last without a pooled vector."""
    text = setup.captions
    length, width, pooled = text.sizes
    parts = (
        TextPart("one", (0, 3), (0, 40), (0, 20)),
        TextPart("two", (0, 3), (40, width), (20, pooled)),
        TextPart("three", (3, length), (0, width), (pooled, pooled)),
    )
    assert isinstance(text, PaddedCaptions)
    return replace(setup, captions=replace(text, parts=parts))


def test_each_network_is_dropped_on_its_own(setup: Setup) -> None:
    """At the study's .464, so that a tenth of the captions lose all three; the rest of a step stays as it was."""
    joined = in_three(setup)
    made = Batches(joined.data, joined.captions, 0, 64, 0.0, CPU, drop_encoders=0.464)
    plain, found = batches(setup, size=64, dropout=0.0), []
    for step in range(60):
        batch, whole = made.at(step), plain.at(step)
        assert torch.equal(batch.noise, whole.noise)
        assert torch.equal(batch.x, whole.x)
        gone = torch.stack(
            [batch.tokens[:, :3, :40].norm(dim=(1, 2)) == 0, batch.tokens[:, :3, 40:].norm(dim=(1, 2)) == 0,
             batch.tokens[:, 3:].norm(dim=(1, 2)) == 0], 1
        )  # fmt: skip
        assert torch.equal(batch.pooled[:, :20].norm(dim=1) == 0, gone[:, 0])
        assert torch.equal(batch.pooled[:, 20:].norm(dim=1) == 0, gone[:, 1])
        rest = whole.tokens.clone()
        rest[:, :3, :40][gone[:, 0]] = 0
        rest[:, :3, 40:][gone[:, 1]] = 0
        rest[:, 3:][gone[:, 2]] = 0
        assert torch.equal(batch.tokens, rest)
        found.append(gone.double())
    drops = torch.cat(found)
    assert drops.mean(0).tolist() == pytest.approx([0.464] * 3, abs=0.03)
    assert drops.prod(1).mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.corrcoef(drops.T).triu(1).abs().max() < 0.06


def test_the_empty_caption_stands_for_what_is_dropped(setup: Setup) -> None:
    """Network by network where the other has zeros, and nowhere else."""
    joined = in_three(setup)
    assert isinstance(joined.captions, PaddedCaptions)
    length, width, wide = joined.captions.sizes
    nothing = torch.randn(length, width), torch.randn(wide)
    other = replace(joined.captions, nothing=nothing)
    made, plain = Batches(joined.data, other, 0, 64, 0.1, CPU, 0.4), batches(joined, size=64, dropout=0.0)
    for step in range(5):
        dropped = made.draw(range(step, step + 1)).dropped[0]
        assert dropped.any()
        assert not dropped.all()
        expected, vectors = plain.at(step).tokens.clone(), plain.at(step).pooled.clone()
        for place, part in enumerate(joined.captions.parts):
            tokens, channels, pooled = (slice(*ends) for ends in (part.tokens, part.channels, part.pooled))
            expected[dropped[:, place], tokens, channels] = nothing[0][tokens, channels]
            vectors[dropped[:, place], pooled] = nothing[1][pooled]
        assert torch.equal(made.at(step).tokens, expected)
        assert torch.equal(made.at(step).pooled, vectors)


def test_dropped_captions_lose_every_network(setup: Setup) -> None:
    """And those that lose networks on their own come on top, and the captions that are dropped stay the same."""
    joined, usual = in_three(setup), batches(setup, size=64, dropout=0.3)
    made = Batches(joined.data, joined.captions, 0, 64, 0.3, CPU)
    both = Batches(joined.data, joined.captions, 0, 64, 0.3, CPU, drop_encoders=0.5)
    for step in range(4):
        batch, more = made.at(step), both.at(step)
        for found, wanted in zip(batch, usual.at(step), strict=True):
            assert torch.equal(found, wanted)
        dropped = batch.pooled.norm(dim=1) == 0
        assert not more.tokens[dropped].any()
        assert not torch.equal(more.tokens, batch.tokens)


def test_validation_covers_the_eight_levels_equally(setup: Setup) -> None:
    batch, levels = validation_batch(setup.data, setup.captions, 32, CPU)
    assert LEVELS == (0.0625, 0.1875, 0.3125, 0.4375, 0.5625, 0.6875, 0.8125, 0.9375)
    assert levels.tolist() == list(LEVELS) * 4
    again, _ = validation_batch(setup.data, setup.captions, 32, CPU)
    assert torch.equal(batch.noise, again.noise)
    assert len(batch.x) == 32


def test_few_validation_images_are_repeated_with_other_noise(setup: Setup) -> None:
    batch, _ = validation_batch(setup.data, setup.captions, 96, CPU)
    assert torch.equal(batch.x[0], batch.x[48])
    assert not torch.equal(batch.noise[0], batch.noise[48])


def test_encoding_drops_padding_shared_by_all(setup: Setup) -> None:
    class Encoder:
        name = "counts"

        def encode_text(self, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
            tokens = torch.zeros(len(captions), 9, 2)
            for row, caption in zip(tokens, captions, strict=True):
                row[: len(caption.split())] = 1
            return tokens, torch.ones(len(captions), 3)

    made = encode(Encoder(), ["a b c", "a", "a b c"], CPU)
    assert made.tokens.shape == (2, 3, 2)
    assert made.rows(["a b c", "a"]).tolist() == [made.index["a b c"], made.index["a"]]


def test_of_several_captions_each_step_draws_one(setup: Setup) -> None:
    """Every caption has its turn, the same one for all members and after an interruption; images stay as they were."""
    count = len(setup.data.train)
    several = tuple(
        (c, *setup.data.train.captions[i % 3 : i % 3 + i % 4])
        for i, c in enumerate(setup.data.train.captions)
    )
    data = replace(setup.data, train=replace(setup.data.train, alternatives=several))
    made, plain = Batches(data, setup.captions, 0, 10, 0.0, CPU), batches(setup)
    starts = np.cumsum([0, *map(len, several)])
    steps = range(200 * count // 10)
    images, texts = (np.concatenate([read(s) for s in steps]) for read in (made.order, made.texts))
    assert np.array_equal(images, np.concatenate([plain.order(s) for s in steps]))
    assert np.all((starts[images] <= texts) & (texts < starts[images + 1]))
    four = np.isin(images, [i for i in range(count) if len(several[i]) == 4])
    shares = np.bincount((texts - starts[images])[four], minlength=4) / four.sum()
    assert shares == pytest.approx([0.25] * 4, abs=0.03)
    late = Batches(data, setup.captions, 0, 10, 0.0, CPU)
    assert np.array_equal(late.texts(50), texts[500:510])
    assert np.array_equal(late.texts(7), texts[70:80])
    batch, flat = made.at(5), data.train.texts()
    expected = setup.captions[setup.captions.rows([flat[t] for t in made.texts(5)])]
    assert torch.equal(batch.tokens, expected[0])
    assert torch.equal(batch.pooled, expected[1])


def test_original_and_synthetic_captions_are_mixed_anew_each_step(setup: Setup) -> None:
    train = setup.data.train
    count, synthetic = len(train), train.captions[::-1]
    several = tuple(zip(train.captions, synthetic, strict=True))
    data = replace(setup.data, train=replace(train, alternatives=several, mix=0.25))
    made = Batches(data, setup.captions, 0, count, 0.0, CPU)
    second = np.stack([made.texts(epoch)[np.argsort(made.order(epoch))] % 2 for epoch in range(60)])
    assert second.mean() == pytest.approx(0.25, abs=0.02)
    assert 0 < second.mean(0).min() < second.mean(0).max() < 0.6, "of every image"
    assert np.array_equal(made.texts(7), Batches(data, setup.captions, 0, count, 0.0, CPU).texts(7))
    longer = Batches(data, setup.captions, 0, 5 * count, 0.0, CPU).texts(0)
    assert len(set(longer)) > len(set(longer // 2)), "also within a batch, where an image comes twice"


def test_captions_to_sample_are_each_of_their_image_in_turn(setup: Setup) -> None:
    split = setup.data.validation
    several = tuple((c, c + " again", c + " more") for c in split.captions)
    data = replace(setup.data, validation=replace(split, alternatives=several))
    count = len(split)
    chosen = choose(data, Evaluation(samples=3 * count))
    plain = choose(setup.data, Evaluation(samples=3 * count))
    for i, caption in enumerate(chosen):
        assert caption.startswith(plain[i])
    assert {chosen[i].removeprefix(plain[i]) for i in range(count)} == {"", " again", " more"}
    assert all(len({chosen[i + count * r] for r in range(3)}) == 3 for i in range(count))
