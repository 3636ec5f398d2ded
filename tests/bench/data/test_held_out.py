"""An item's side depends on its own key only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.data.held_out import hash_split, unit_hash


@given(st.sets(st.text(max_size=8), max_size=60), st.text(max_size=8))
def test_adding_an_item_moves_no_other(keys: set[str], new: str) -> None:
    def sides(names: set[str]) -> dict[str, int]:
        order = sorted(names)
        split = hash_split(order, 10**6, 10**6)
        return {order[i]: side for side, chosen in enumerate(split) for i in chosen}

    before, after = sides(keys), sides(keys | {new})
    assert set(before) == keys
    assert all(after[key] == side for key, side in before.items())


def test_bounds_never_move_an_item_across() -> None:
    keys = [f"{i}.png" for i in range(1000)]
    train, validation = hash_split(keys, 10**6, 10**6)
    assert len(train) + len(validation) == 1000
    assert 90 < len(validation) < 160  # 125 expected, deviation 10.5
    few_train, few_validation = hash_split(keys, 100, 20)
    assert (len(few_train), len(few_validation)) == (100, 20)
    assert set(few_train) < set(train)
    assert set(few_validation) < set(validation)
    assert few_train == sorted(few_train)


def test_hash_is_sha256_and_fixed() -> None:
    assert unit_hash("0") == pytest.approx(0x5FECEB66FFC8 / 2**48, abs=1e-12)  # sha256("0")
    assert np.mean([unit_hash(str(i)) for i in range(4000)]) == pytest.approx(0.5, abs=0.02)
