"""What a file of `tinyclip` weights records besides its tensors. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from flowbench._core.errors import UserError

FORMAT = 1
SHIPPED = Path(__file__).parent / "weights" / "tinyclip.safetensors"


def read_header(path: Path) -> dict[str, Any]:
    """The JSON metadata of a weights file: format, config, words, length, recipe.

    Raises:
        UserError: no such file, or not one of ours.
    """
    if not path.is_file():
        raise UserError(
            f"no tinyclip weights at {path}: make them with `python -m bench.tinyclip --out {path}`"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("tinyclip")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no readable safetensors file: {error}") from None
    if text is None:
        raise UserError(f"{path} holds no tinyclip (they are made by `python -m bench.tinyclip`)")
    header: dict[str, Any] = json.loads(text)
    if header.get("format") != FORMAT:
        raise UserError(f"{path} has tinyclip format {header.get('format')}, this version reads {FORMAT}")
    return header
