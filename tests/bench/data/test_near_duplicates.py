"""Groups of near-duplicates against brute force, in any order and in blocks of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import near_duplicates
from bench.data.near_duplicates import first_of_each
from flowbench._core.errors import UserError


def features(count: int, dim: int, seed: int) -> torch.Tensor:
    """Random vectors, some of them near others, one of zeros."""
    found = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    found[count // 2 :] = found[: count - count // 2] + 0.5 * found[count // 2 :]
    found[0] = 0
    return found


def brute_force(found: torch.Tensor, threshold: float) -> list[int]:
    """The lowest row that each one is linked to, by walking from row to row."""
    rows = found.double().tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        lengths = math.hypot(*a) * math.hypot(*b)
        return math.fsum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0

    near = [[j for j, b in enumerate(rows) if cosine(a, b) >= threshold] for a in rows]
    first = list[int]()
    for start in range(len(rows)):
        seen, left = {start}, [start]
        while left:
            new = set(near[left.pop()]) - seen
            seen |= new
            left += new
        first.append(min(seen))
    return first


@given(
    st.integers(2, 40), st.integers(2, 9), st.integers(0, 10**6), st.sampled_from([-0.5, 0.3, 0.7, 0.9, 0.99])
)
@settings(max_examples=60, deadline=None)
def test_groups_are_those_of_brute_force(count: int, dim: int, seed: int, threshold: float) -> None:
    found = features(count, dim, seed)
    wanted = brute_force(found, threshold)
    for block in (3, 7, 4096):
        assert first_of_each(found, threshold, block=block).tolist() == wanted


def test_the_order_of_rows_names_groups_and_changes_none() -> None:
    found = features(60, 4, 1)
    first = first_of_each(found, 0.8, block=16)
    assert 5 < len(np.unique(first)) < 55
    order = np.random.default_rng(0).permutation(60)
    shuffled = first_of_each(found[order], 0.8, block=16)
    for row in range(60):
        same = set(np.flatnonzero(first == first[order[row]]))
        assert same == set(order[np.flatnonzero(shuffled == shuffled[row])])
    assert all(shuffled[lowest] == lowest for lowest in shuffled)


def test_a_chain_is_one_group() -> None:
    angles = torch.tensor([0.0, 50.0, 100.0, 150.0]).deg2rad()
    found = torch.stack([angles.cos(), angles.sin()], 1)[torch.tensor([3, 0, 2, 1])]
    assert first_of_each(found, math.cos(math.radians(50.001))).tolist() == [0] * 4
    assert first_of_each(found, math.cos(math.radians(49.999))).tolist() == [0, 1, 2, 3]


def test_a_pair_at_the_threshold_is_decided_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    exact = float((near_duplicates.normalised(pair)[0] * near_duplicates.normalised(pair)[1]).sum())
    for more, wanted in ((0.0, [0, 0]), (1e-12, [0, 1])):
        assert first_of_each(pair, exact + more).tolist() == wanted


def test_features_that_are_not_finite_are_refused() -> None:
    found = features(9, 4, 0)
    found[3, 1], found[5] = torch.nan, torch.inf
    with pytest.raises(UserError, match="the features of 2 of 9 pictures are not finite"):
        first_of_each(found, 0.5)
