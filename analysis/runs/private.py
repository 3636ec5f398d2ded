"""A report is passed on, so it must not show where the machine that made it keeps its files."""

from __future__ import annotations

import re

PACKAGES = ("analysis", "bench", "formulations", "samplers")
"""Our own packages: places in them may be shown."""
_QUOTED = re.compile(r"""(["'])(/[^"'\n]+/[^"'\n]*)\1""")
_BARE = re.compile(r"""(?<![\w./~+…])/(?!/)[^\s"'`,;:()<>|/]+/[^\s"'`,;:()<>|]*""")


def without_paths(text: str) -> str:
    """``text`` with only the end of every absolute path, after ``…/``: the place in an installed package, in ours or in a
    run's cells, else the last name."""
    text = _QUOTED.sub(lambda m: m[1] + _end(m[2]) + m[1], text)
    return _BARE.sub(lambda m: _end(m[0]), text)


def _end(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    for anchor in ("site-packages", "dist-packages"):
        if anchor in parts[:-1]:
            return "…/" + "/".join(parts[len(parts) - parts[::-1].index(anchor) :])
    known = [i for i, part in enumerate(parts[:-1]) if part in (*PACKAGES, "cells")]
    return "…/" + "/".join(parts[known[-1] if known else -1 :])
