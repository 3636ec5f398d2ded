"""A training step as one CUDA graph: recorded once, then replayed without the host in between."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3
"""Ordinary calls before recording: they choose kernels, compile, and allocate what persists."""


class Graph:
    """Calls a function a few times as it is, then records it and replays the recording.

    It is always given the same function, which takes and returns nothing, and reads and writes tensors that stay where
    they are. The recording is a call like any other: nothing is executed twice, and nothing is undone.
    """

    def __init__(self, device: torch.device) -> None:
        self.calls = 0
        self.stream = torch.cuda.Stream(device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, function: Callable[[], None]) -> None:
        """One call of the function."""
        if self.calls < WARM_UP:
            self._aside(function)
        elif self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            # other threads draw the next batches meanwhile
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                function()
        if self.graph is not None:
            self.graph.replay()
        self.calls += 1

    def _aside(self, function: Callable[[], None]) -> None:
        """Call on the stream of the recording, so that the memory is found there."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            function()
        torch.cuda.current_stream().wait_stream(self.stream)
