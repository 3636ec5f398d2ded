"""Modules that are imported when first used."""

from __future__ import annotations

import math
import pickle
import types

from flowbench._core.lazy import lazy


def test_a_lazy_module_is_sent_to_another_process_as_one() -> None:
    arrived = pickle.loads(pickle.dumps(lazy("math")))
    assert isinstance(arrived, types.ModuleType)
    assert arrived.__name__ == "math"
    assert arrived.tau == math.tau
