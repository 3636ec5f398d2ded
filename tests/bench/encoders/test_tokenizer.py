"""Words as numbers, and the twins made of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data import load
from bench.encoders.tinyclip_eval import replace_words, swap_words
from bench.encoders.tinyclip_twins import Twins
from bench.encoders.tokenizer import PAD, UNKNOWN, Tokenizer, words_of

WORDS = st.text("abcdefg", min_size=1, max_size=4)
CAPTIONS = st.lists(st.lists(WORDS, min_size=1, max_size=9).map(" ".join), min_size=1, max_size=8)


@given(CAPTIONS)
def test_captions_of_the_vocabulary_come_back(captions: list[str]) -> None:
    tokenizer = Tokenizer.fit(captions)
    assert [tokenizer.decode(row) for row in tokenizer.encode(captions)] == captions
    assert tokenizer.unknown(captions) == 0
    assert tokenizer.truncated(captions) == 0
    assert tokenizer.length % 2 == 0
    assert list(tokenizer.words[2:]) == sorted({word for caption in captions for word in caption.split()})


def test_case_and_punctuation_do_not_matter() -> None:
    assert words_of("A woman: Curly hair,") == ["a", "woman", "curly", "hair"]
    assert words_of("medium-dark skin!") == ["medium", "dark", "skin"]


def test_unknown_words_and_long_captions_are_counted() -> None:
    tokenizer = Tokenizer.fit(["a red circle"], length=2)
    assert tokenizer.encode(["a zebra", "a"]).tolist() == [
        [tokenizer.index["a"], UNKNOWN],
        [tokenizer.index["a"], PAD],
    ]
    assert tokenizer.unknown(["a zebra", "red circle"]) == 0.25
    assert tokenizer.unknown([""]) == 0.0
    assert tokenizer.truncated(["a red circle", "a red"]) == 1


def test_a_large_vocabulary_keeps_the_frequent_words() -> None:
    assert Tokenizer.fit(["a b c", "b c", "c"], limit=2).words == ("<pad>", "<unk>", "b", "c")


@pytest.fixture(scope="module")
def scenes() -> tuple[Tokenizer, np.ndarray, Twins]:
    captions = load("scenes", resolution=8, train=3000, validation=10).train.captions
    tokenizer = Tokenizer.fit(captions)
    ids = tokenizer.encode(captions)
    return tokenizer, ids, Twins(ids, len(tokenizer.words))


@pytest.mark.parametrize("span", [1, 2, 3])
def test_a_swap_exchanges_two_spans_and_reads_like_a_caption(
    scenes: tuple[Tokenizer, np.ndarray, Twins], span: int
) -> None:
    tokenizer, ids, twins = scenes
    neighbours = {p for row in ids for p in pairwise(tokenizer.decode(row).split())}
    changed = twins.swap(ids[:500], np.random.default_rng(0), span)
    for row, twin in zip(ids[:500], changed, strict=True):
        assert sorted(row) == sorted(twin)
        assert 2 <= (row != twin).sum() <= 2 * span
        assert set(pairwise(tokenizer.decode(twin).split())) <= neighbours


def test_a_replacement_changes_one_word_and_reads_like_a_caption(
    scenes: tuple[Tokenizer, np.ndarray, Twins],
) -> None:
    tokenizer, ids, twins = scenes
    neighbours = {p for row in ids for p in pairwise(tokenizer.decode(row).split())}
    changed = twins.replace(ids[:500], np.random.default_rng(0))
    assert ((changed != ids[:500]).sum(1) == 1).all()
    assert all(set(pairwise(tokenizer.decode(twin).split())) <= neighbours for twin in changed)
    kinds = {tokenizer.words[w] for row, twin in zip(ids, changed, strict=False) for w in twin[row != twin]}
    assert {"red", "circle", "large", "left", "below", "black"} <= kinds


def test_twins_of_captions_that_allow_none_are_the_captions() -> None:
    ids = np.array([[2, 3, PAD]])
    drawn = Twins(ids, 4).draw(ids, 4, np.random.default_rng(0))
    assert drawn.tolist() == [[2, 3, PAD]] * 4


@given(CAPTIONS, st.integers(0, 5), st.integers(0, 9))
def test_twins_never_hold_unknown_words_or_inner_padding(captions: list[str], count: int, seed: int) -> None:
    tokenizer = Tokenizer.fit(captions)
    ids = tokenizer.encode(captions)
    drawn = Twins(ids, len(tokenizer.words)).draw(ids, count, np.random.default_rng(seed))
    assert drawn.shape == (count * len(ids), tokenizer.length)
    assert (drawn != UNKNOWN).all()
    assert ((drawn == PAD) == np.tile(ids == PAD, (count, 1))).all()


def test_named_edits() -> None:
    caption = "a small red circle left of a large blue square on white"
    assert swap_words(caption, ("red", "blue")) == "a small blue circle left of a large red square on white"
    assert swap_words("a red circle above a red ring", ("red",)) is None
    assert replace_words(caption, {"left": "right"}) == caption.replace("left", "right")
    assert replace_words(caption, {"above": "below"}) is None
