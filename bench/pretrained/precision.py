"""The precision in which a pre-trained network computes: float32, or bf16 in half the memory, as part of its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowbench._core.errors import UserError, nearest
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
else:
    torch = lazy("torch")

USUAL = "float32"
KNOWN = (USUAL, "bf16")


def check_precision(spec: str, precision: str) -> None:
    """Raise :class:`UserError` for a precision that is not known."""
    if precision not in KNOWN:
        raise UserError(f"{spec}: precision={precision} is not known; {nearest(precision, KNOWN)}")


def computing(model: Any, device: str, precision: str) -> Any:
    """A model on a device, its weights and activations in a precision."""
    return model.to(device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)


def suffix(precision: str) -> str:
    """What the name of a network ends in: nothing for float32."""
    return "" if precision == USUAL else f"-{precision}"
