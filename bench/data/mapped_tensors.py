"""Files of safetensors that are mapped into memory, and what their headers say. No torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TYPES = {"F16": np.float16, "F32": np.float32, "I64": np.int64, "U8": np.uint8}


def layout(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a file of safetensors, and where its data begin."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header: dict[str, Any] = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


def header_end(header: Mapping[str, Any]) -> int:
    """Bytes of data that a header describes."""
    return max((each["data_offsets"][1] for each in header.values()), default=0)


def mapped(file: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a file of safetensors by name, mapped into memory: read when they are used, never written."""
    header, start = layout(file)
    content = np.memmap(file, np.uint8, "c")
    found: dict[str, NDArray[Any]] = {}
    for name, about in header.items():
        first, last = (start + offset for offset in about["data_offsets"])
        found[name] = content[first:last].view(TYPES[about["dtype"]]).reshape(about["shape"])
    return found
