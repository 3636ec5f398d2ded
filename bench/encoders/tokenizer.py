"""Words of captions as numbers: the vocabulary that a `tinyclip` weights file carries."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

PAD, UNKNOWN = 0, 1
SPECIAL = ("<pad>", "<unk>")
_WORD = re.compile(r"\w+")


def words_of(caption: str) -> list[str]:
    """The lower-cased words (``\\w+``) of a caption; punctuation is dropped."""
    return _WORD.findall(caption.lower())


@dataclass(frozen=True)
class Tokenizer:
    """Captions to ids of words, padded or cut to ``length``.

    ``words[0]`` is ``<pad>``, ``words[1]`` is ``<unk>``; the rest is sorted.
    """

    words: tuple[str, ...]
    length: int

    @classmethod
    def fit(cls, captions: Iterable[str], length: int | None = None, limit: int = 8192) -> Tokenizer:
        """The vocabulary of ``captions``: their ``limit`` most frequent words, ties in alphabetical order.

        ``length`` defaults to the longest caption rounded up to an even number, between 4 and 32.
        """
        counts: Counter[str] = Counter()
        longest = 0
        for caption in captions:
            words = words_of(caption)
            longest = max(longest, len(words))
            counts.update(words)
        kept = sorted(counts, key=lambda word: (-counts[word], word))[:limit]
        return cls((*SPECIAL, *sorted(kept)), length or min(32, max(4, longest + longest % 2)))

    @cached_property
    def index(self) -> dict[str, int]:
        """Id of each word."""
        return {word: i for i, word in enumerate(self.words)}

    def encode(self, captions: Sequence[str]) -> NDArray[np.int64]:
        """Ids ``[N, length]``; words outside the vocabulary become ``<unk>``, missing places ``<pad>``."""
        ids = np.full((len(captions), self.length), PAD, dtype=np.int64)
        for row, caption in zip(ids, captions, strict=True):
            found = [self.index.get(word, UNKNOWN) for word in words_of(caption)[: self.length]]
            row[: len(found)] = found
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The words of one row of ids, without padding."""
        return " ".join(self.words[i] for i in ids if i != PAD)

    def truncated(self, captions: Iterable[str]) -> int:
        """How many captions are longer than ``length`` words."""
        return sum(len(words_of(caption)) > self.length for caption in captions)

    def unknown(self, captions: Iterable[str]) -> float:
        """The share of words outside the vocabulary (0 if there are no words)."""
        known = [word in self.index for caption in captions for word in words_of(caption)]
        return 1.0 - sum(known) / len(known) if known else 0.0
