"""The order of the training images: every epoch shows each once, by a permutation keyed by seed and epoch.

Of up to :data:`DRAWN` images the permutation of an epoch is drawn and kept. Of more it is computed where it is read, in
memory that does not depend on their number: a Feistel network on the ``b = ceil(log2 N)`` bits of a place, applied until the
result is below N (cycle walking: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", 2002).

    high, low = place >> b // 2, place mod 2^(b // 2);    high ^= hash(low, key 0), low ^= hash(high, key 1), high ^= ...
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.config.seeds import seed_for

DRAWN = 1 << 20
"""Most images whose order is drawn; part of the protocol, since the two orders differ."""
ROUNDS = 10
"""As many as the network of FF1 has (NIST SP 800-38G)."""

Places = NDArray[np.int64]
Permutation = Callable[[Places], Places]
"""From places ``[n]`` in an epoch to images ``[n]``."""


class ImageOrder:
    """The order of ``count`` images, epoch after epoch, addressed by position: nothing is remembered but the last epoch."""

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count
        self._last: tuple[int, Permutation] | None = None

    def at(self, positions: range) -> Places:
        """The images at positions counted from the start of training; epochs follow each other without a gap."""
        epoch, place = divmod(np.asarray(positions, dtype=np.int64), self.count)
        return np.concatenate([self._epoch(int(e))(place[epoch == e]) for e in np.unique(epoch)])

    def _epoch(self, epoch: int) -> Permutation:
        last = self._last  # read once: a thread may draw ahead
        if last is None or last[0] != epoch:
            made = drawn if self.count <= DRAWN else keyed
            last = self._last = (epoch, made(self.seed, epoch, self.count))
        return last[1]


def drawn(seed: int, epoch: int, count: int) -> Permutation:
    """A permutation of ``[0, count)`` as an array."""
    order = np.random.default_rng(seed_for("order", seed, epoch)).permutation(count)
    return lambda places: order[places]


def keyed(seed: int, epoch: int, count: int) -> Permutation:
    """A permutation of ``[0, count)`` as a function, in constant memory."""
    keys = [np.uint64(seed_for("order", seed, epoch, i)) for i in range(ROUNDS)]
    bits = max(2, (count - 1).bit_length())

    def permutation(places: Places) -> Places:
        found = _feistel(places.astype(np.uint64), keys, bits)
        while (beyond := found >= count).any():
            found[beyond] = _feistel(found[beyond], keys, bits)
        return found.astype(np.int64)

    return permutation


def _feistel(values: NDArray[np.uint64], keys: list[np.uint64], bits: int) -> NDArray[np.uint64]:
    """A permutation of ``[0, 2^bits)``: rounds change the high and the low half of a value in turn, each by the other."""
    width = np.uint64(bits // 2)
    low_mask, high_mask = (np.uint64((1 << n) - 1) for n in (bits // 2, bits - bits // 2))
    high, low = values >> width, values & low_mask
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        high = high ^ (_mixed(low + first) & high_mask)
        low = low ^ (_mixed(high + second) & low_mask)
    return (high << width) | low


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of 64 bits: the output function of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
