"""What the training loop reads at each step, made many steps at a time so that no step waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from bench.objectives import Batch
from bench.training.batches import Batches, Draws
from bench.training.coefficients import at, coefficients
from formulations import Coeffs, Formulation

CHUNK, CHUNK_BYTES = 64, 1 << 26
"""Most steps, and most bytes, that are drawn at once; no result depends on them."""

Chunk = tuple[Draws, Coeffs]


class Feed:
    """Batches and coefficients ``[E, B]`` by step, drawn in chunks on the host and moved to the device at once.

    On a GPU the next chunk is drawn in a thread while this one trains, and its copies do not block.
    """

    def __init__(self, formulations: Sequence[Formulation], batches: Batches, total: int) -> None:
        self.formulations, self.batches, self.total = formulations, batches, total
        self.size = max(1, min(CHUNK, CHUNK_BYTES // batches.step_bytes))
        self._first, self._chunk = -1, None  # type: tuple[int, Chunk | None]
        self._ahead: tuple[int, Future[Chunk]] | None = None
        self._thread = ThreadPoolExecutor(1) if batches.device.type == "cuda" else None

    def at(self, step: int) -> tuple[Batch, Coeffs]:
        """The batch and the coefficients of a step."""
        first = step - step % self.size
        if self._chunk is None or first != self._first:
            self._first, self._chunk = first, self._take(first)
        draws, table = self._chunk
        return self.batches.look_up(draws, step - first), at(table, step - first)

    def _take(self, first: int) -> Chunk:
        ahead, self._ahead = self._ahead, None
        chunk = ahead[1].result() if ahead and ahead[0] == first else self._draw(first)
        after = first + self.size
        if self._thread and after < self.total:
            self._ahead = (after, self._thread.submit(self._draw, after))
        return chunk

    def _draw(self, first: int) -> Chunk:
        steps = range(first, min(first + self.size, self.total))
        return self.batches.draw(steps), coefficients(self.formulations, self.batches, steps, self.total)
