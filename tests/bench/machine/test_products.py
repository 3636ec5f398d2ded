"""How float32 matrices are multiplied: by the fastest library that is exact, probed and not believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from bench.machine import matmul
from bench.machine.matmul import EXACT, autocast, default_products, fast_products

CPU = torch.device("cpu")

SIZES = [(1, 1, 1, 1), (3, 7, 5, 11), (1, 129, 65, 257), (6, 1024, 64, 256), (13, 17, 640, 3)]
"""Members, rows, inner width, columns: none of them those that are probed."""

PRODUCTS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "bmm": lambda x, w, b: torch.bmm(x, w) + b,
    "mm": lambda x, w, b: torch.stack([torch.mm(*pair) for pair in zip(x, w, strict=True)]) + b,
    "baddbmm": lambda x, w, b: torch.baddbmm(b, x, w),
    "addmm": lambda x, w, b: torch.stack([torch.addmm(c, *pair) for c, *pair in zip(b, x, w, strict=True)]),
    "transposed": lambda x, w, b: torch.bmm(x, w.mT.contiguous().mT) + b,
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("how", PRODUCTS)
def test_fast_products_are_float32(how: str, size: tuple[int, int, int, int]) -> None:
    members, rows, inner, columns = size
    g = torch.Generator().manual_seed(1)
    x, w, b = (
        torch.randn(sizes, generator=g)
        for sizes in ((members, rows, inner), (members, inner, columns), (members, 1, columns))
    )
    exact = x.double() @ w.double() + b.double()
    fast_products(CPU)
    found = PRODUCTS[how](x, w, b)
    assert found.dtype == torch.float32
    assert (found - exact).norm() < EXACT * exact.norm()


def test_gradients_of_fast_products_are_float32() -> None:
    g = torch.Generator().manual_seed(2)
    x, w = torch.randn(5, 33, 65, generator=g), torch.randn(5, 65, 129, generator=g)
    fast_products(CPU)
    single, double = (
        [v.clone().to(kind).requires_grad_() for v in (x, w)] for kind in (torch.float32, torch.float64)
    )
    for a, b in (single, double):
        torch.bmm(a, b).sin().sum().backward()
    for found, exact in zip(single, double, strict=True):
        assert found.grad is not None
        assert exact.grad is not None
        assert (found.grad - exact.grad).norm() < 10 * EXACT * exact.grad.norm()


@pytest.mark.parametrize(("worst", "fast"), [(0.9 * EXACT, True), (1.1 * EXACT, False)])
def test_rounding_products_are_put_back(worst: float, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def errors() -> Iterator[float]:
        seen.append(torch.get_float32_matmul_precision())
        yield from (0.0, worst, 0.0)

    monkeypatch.setattr(matmul, "errors", errors)
    assert fast_products(CPU) is fast
    assert seen == ["medium"], "the probe must see what it is about"
    assert torch.get_float32_matmul_precision() == ("medium" if fast else "highest")


def test_the_probe_finds_a_product_that_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a processor with AMX does it: operands rounded to bf16, sums in float32."""
    real = torch.bmm
    assert max(matmul.errors()) < EXACT
    monkeypatch.setattr(torch, "bmm", lambda x, w: real(x.bfloat16().float(), w.bfloat16().float()))
    assert max(matmul.errors()) > 100 * EXACT


def test_other_devices_are_left_alone() -> None:
    for device in ("cuda", "mps"):
        assert fast_products(torch.device(device)) is False
        assert torch.get_float32_matmul_precision() == "highest"


def test_default_products_are_for_a_while() -> None:
    torch.set_float32_matmul_precision("medium")
    with default_products():
        assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == "medium"
    with pytest.raises(ZeroDivisionError), default_products():
        _ = 1 / 0
    assert torch.get_float32_matmul_precision() == "medium"


def test_only_bf16_is_cast() -> None:
    x = torch.ones(2, 2)
    with autocast("float32", CPU):
        assert (x @ x).dtype == torch.float32
    with autocast("bf16", CPU):
        assert (x @ x).dtype == torch.bfloat16
