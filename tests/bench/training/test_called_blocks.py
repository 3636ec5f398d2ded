"""Blocks compiled one by one: once for each kind and each length of captions, whatever the depth, and the same numbers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from bench.models.shape import Shape
from bench.training.called_blocks import called
from bench.training.tuning import inputs

CPU = torch.device("cpu")
SHAPE = Shape(3, 16, 1, 8, 16, 3, text_length=5, text_width=8, pooled_width=4)
LENGTHS = (3, 7, 3, *range(8, 15))
"""More of them than torch compiles a function for by itself, which is 8; one comes twice."""


def test_captions_of_any_length_are_compiled_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    counter = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    model = SHAPE.build(2)
    model.initialise(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    network = called(model, compiled=True, recompute=False)
    counts = []
    for length in LENGTHS:
        batch, c = inputs(replace(SHAPE, text_length=length), 2, 2, CPU)
        given = batch.x.expand(2, *batch.x.shape), c.c_noise, batch.tokens, batch.pooled
        torch.testing.assert_close(network(*given), model(*given))
        counts.append(counter.frame_count)
    assert counts[0] == 2, "the ordinary block, and the last one, whose text ends early"
    assert counts[2] == counts[1], "a length that came before"
    assert counts[-1] == 2 * len(set(LENGTHS))
    torch._dynamo.reset()
