"""The plugins in examples/: each registers formulations that pass the shipped check."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import formulations
from formulations import check_formulation
from formulations.formulation_registry import registry

EXAMPLES = [Path(__file__).parents[2] / "examples" / name for name in ("half.py", "late.py")]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_an_example_registers_formulations_that_pass_the_check(file: Path) -> None:
    before = set(registry.entries)
    formulations.load_plugin(file)
    added = [name for name in formulations.names("registered") if name.split("(")[0] not in before]
    assert added
    for name in added:
        assert check_formulation.check(formulations.get(name))


def test_half_sees_data_of_half_the_deviation_and_draws_whole_images() -> None:
    formulations.load_plugin(EXAMPLES[0].parent / "half.py")
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    for half, whole in (("half/rf", "rf"), ("half/v-cos", "v/cos"), ("half/edm", "edm")):
        one, other = formulations.get(half).coeffs(t), formulations.get(whole).coeffs(t)
        for seen, on_half in ((one.c_in * one.a, other.a / 2), (one.c_in * one.b, other.b)):
            torch.testing.assert_close(seen, other.c_in * on_half)
        for name, factor in (("a", 1), ("p", 0.5), ("q", 1), ("c_noise", 1), ("w", 1)):
            torch.testing.assert_close(getattr(one, name), factor * getattr(other, name))
