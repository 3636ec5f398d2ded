"""Code that must not wait for a GPU, checked without one: operators whose result the host would need are refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

WAITING = (
    "_local_scalar_dense",
    "item",
    "nonzero",
    "is_nonzero",
    "equal",
    "masked_select",
    "unique_dim",
    "_unique2",
)
"""Operators whose result, or its size, the host must wait for."""


@contextmanager
def no_waiting(failed: Callable[[str], Exception]) -> Iterator[None]:
    """Raise ``failed(sentence)`` for an operator that would make the host wait for a GPU."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class NoWaiting(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket.__name__ in WAITING:
                raise failed(f"{func.overloadpacket.__name__} in a step waits for the device")
            return func(*args, **kwargs or {})

    with NoWaiting():  # type: ignore[no-untyped-call]
        yield
