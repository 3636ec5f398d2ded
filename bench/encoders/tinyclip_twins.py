"""Twins: captions one edit away from a true one, which describe another picture.

With thousands of captions, random negatives seldom differ only in *which* object has which colour, so an
encoder trained on them reads captions as bags of words. Twins make it bind: two words (or two spans of up to
three words) change places, or one word is replaced, wherever the result still consists of pairs of
neighbouring words that the training captions have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.encoders.tokenizer import PAD, UNKNOWN

Ids = NDArray[np.int64]


def _neighbours(ids: Ids) -> tuple[Ids, Ids]:
    """The words before and after each word, ``<pad>`` beyond the ends."""
    edge = np.full((len(ids), 1), PAD, dtype=np.int64)
    return np.concatenate([edge, ids[:, :-1]], 1), np.concatenate([ids[:, 1:], edge], 1)


class Twins:
    """Draws twins of captions given as ids ``[N, L]``; ``pairs[v, w]``: word ``w`` follows ``v`` in some
    training caption (``<pad>`` stands for the beginning and the end)."""

    def __init__(self, ids: Ids, words: int) -> None:
        before, after = _neighbours(ids)
        self.pairs = np.zeros((words, words), dtype=bool)
        self.pairs[before, ids] = True
        self.pairs[ids, after] = True
        self.pairs[UNKNOWN] = self.pairs[:, UNKNOWN] = False

    def swap(self, ids: Ids, rng: np.random.Generator, span: int = 1) -> Ids:
        """Each caption with two different spans of ``span`` words exchanged, chosen at random among those
        that fit and do not touch; unchanged where no two do."""
        if (count := ids.shape[1] - span + 1) < 1:
            return ids.copy()
        before, after = (
            edge[:, at : at + count] for edge, at in zip(_neighbours(ids), (0, span - 1), strict=True)
        )
        first, last = ids[:, :count], ids[:, span - 1 :]
        fits = (
            self.pairs[before[:, :, None], first[:, None, :]]
            & self.pairs[last[:, None, :], after[:, :, None]]
        )
        differ = np.zeros_like(fits)
        for k in range(span):
            word = ids[:, k : k + count]
            differ |= word[:, :, None] != word[:, None, :]
        words = last != PAD
        allowed = fits & fits.transpose(0, 2, 1) & differ & words[:, :, None] & words[:, None, :]
        allowed &= np.triu(np.ones((count, count), dtype=bool), span + 1)
        chance = np.where(allowed, rng.random(allowed.shape), -1.0).reshape(len(ids), -1)
        rows = np.flatnonzero(chance.max(1) >= 0)
        i, j = np.divmod(chance.argmax(1)[rows], count)
        twins = ids.copy()
        for k in range(span):
            twins[rows, i + k], twins[rows, j + k] = ids[rows, j + k], ids[rows, i + k]
        return twins

    def replace(self, ids: Ids, rng: np.random.Generator) -> Ids:
        """Each caption with one word replaced by another that fits between its neighbours, or unchanged."""
        before, after = _neighbours(ids)
        twins = ids.copy()
        # Places are tried in random order, one round each, so that no [N, L, words] table is needed.
        order = np.argsort(np.where(ids == PAD, 2.0, rng.random(ids.shape)), axis=1)
        open_rows = np.arange(len(ids))
        for place in order.T:
            at = place[open_rows]
            word = ids[open_rows, at]
            others = self.pairs[before[open_rows, at]] & self.pairs[:, after[open_rows, at]].T
            others[:, PAD] = False
            others[np.arange(len(word)), word] = False
            found = others.any(1) & (word != PAD)
            choice = np.where(others, rng.random(others.shape), -1.0).argmax(1)
            twins[open_rows[found], at[found]] = choice[found]
            open_rows = open_rows[~found]
            if not len(open_rows):
                break
        return twins

    def draw(self, ids: Ids, count: int, rng: np.random.Generator) -> Ids:
        """``count`` twins of each caption ``[count * N, L]``: swaps and replacements in turn.

        Swaps take spans of one to three words, one where the longer do not fit. Where nothing can change
        places, a word is replaced; where nothing is possible the caption itself is returned, which the loss
        leaves out.
        """
        return np.concatenate([ids[:0], *(self._one(ids, k % 2 == 0, rng) for k in range(count))])

    def _one(self, ids: Ids, swap: bool, rng: np.random.Generator) -> Ids:
        twins = self.swap(ids, rng, int(rng.integers(1, 4))) if swap else ids
        for change in (self.swap, self.replace) if swap else (self.replace,):
            same = (twins == ids).all(1)
            if same.any():
                twins = np.where(same[:, None], change(ids, rng), twins)
        return twins
