"""A training step as one CUDA graph: recorded once, then replayed without the host in between."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3
"""Ordinary calls before recording: they choose kernels, compile, and allocate what persists."""


class Graph:
    """Calls ``function`` a few times as it is, then records it and replays the recording.

    The function takes and returns nothing; it reads and writes tensors that stay where they are. The recording is a
    call like any other: nothing is executed twice, and nothing is undone.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function
        self.calls = 0
        self.stream = torch.cuda.Stream()
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """One call of the function."""
        if self.calls < WARM_UP:
            self._aside()
        elif self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            # other threads draw the next batches meanwhile
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                self.function()
        if self.graph is not None:
            self.graph.replay()
        self.calls += 1

    def _aside(self) -> None:
        """Call on the stream of the recording, so that the memory is found there."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.function()
        torch.cuda.current_stream().wait_stream(self.stream)
