"""How matrices are multiplied: in bf16 if a recipe asks for it, and on a CPU by oneDNN where it is as exact as float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

EXACT = 1e-6
"""Largest relative error of a product that still counts as float32."""


def fast_products(device: torch.device) -> bool:
    """Let oneDNN multiply float32 matrices on a CPU, where that is as exact as float32; returns whether it does.

    torch's own choice is MKL, which uses AVX-512 on Intel's processors only; on others oneDNN is up to twice as fast, if
    the matrices are not small. torch gives it float32 products only if it may round them ("medium"). Processors with AMX
    then do round, others do not: probed here.
    """
    torch.set_float32_matmul_precision("medium")
    fast = device.type == "cpu" and max(errors()) <= EXACT
    if not fast:
        torch.set_float32_matmul_precision("highest")
    return fast


@contextmanager
def default_products() -> Iterator[None]:
    """torch's own choice of library, whatever this process has chosen."""
    chosen = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(chosen)


def errors() -> Iterator[float]:
    """Relative errors of float32 products, small and large, single and batched, against float64."""
    generator = torch.Generator().manual_seed(0)
    for members, rows, inner, columns in (
        (1, 64, 64, 64),
        (6, 128, 64, 256),
        (1, 512, 256, 512),
        (4, 33, 500, 77),
    ):
        x = torch.randn(members, rows, inner, generator=generator)
        w = torch.randn(members, inner, columns, generator=generator)
        exact = x.double() @ w.double()
        for y in (torch.bmm(x, w), torch.mm(x[0], w[0])[None]):
            yield float((y - exact[: len(y)]).norm() / exact[: len(y)].norm())


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 matrix products if the recipe asks for them; weights, coefficients, loss and EMA stay float32."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
