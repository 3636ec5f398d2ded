"""The metrics of examples/more_metrics.py against their definitions, written out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import flowbench
from bench.metrics.metric import get
from bench.plugins import main as plugins
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

FILE = Path(flowbench.ROOT) / "examples" / "more_metrics.py"


def drawn(generated: int = 40, held: int = 30) -> Any:
    """Features of generated and held-out images."""
    rng = np.random.default_rng(0)
    made, real = rng.normal(0.7, 1, (generated, 6)), rng.normal(0, 1, (held, 6))
    reference = SimpleNamespace(features=torch.from_numpy(real))
    return SimpleNamespace(images=np.zeros(generated), features=torch.from_numpy(made), reference=reference)


@pytest.fixture(autouse=True)
def loaded() -> None:
    load_plugin(FILE)


@pytest.fixture(autouse=True, params=[7, 1024])
def rows(loaded: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No value depends on how many rows are compared at once."""
    measure: Any = get("precision")
    monkeypatch.setitem(measure.compute.__globals__, "ROWS", request.param)


def test_each_counts_neighbours_as_its_paper_does() -> None:
    given = drawn()
    real, made = given.reference.features.numpy(), given.features.numpy()

    def ball(points: np.ndarray, i: int, k: int) -> float:
        return sorted(float(np.linalg.norm(points[i] - other)) for other in points)[k]

    def within(points: np.ndarray, k: int, other: np.ndarray) -> np.ndarray:
        return np.array(
            [[np.linalg.norm(p - o) < ball(points, i, k) for o in other] for i, p in enumerate(points)]
        )

    found = get("precision").of(given).values
    assert found["precision"] == pytest.approx(within(real, 3, made).any(0).mean())
    assert found["recall"] == pytest.approx(within(made, 3, real).any(0).mean())
    assert found["density"] == pytest.approx(within(real, 5, made).sum() / (5 * len(made)))
    assert found["coverage"] == pytest.approx(within(real, 5, made).any(1).mean())


def test_cmmd_is_the_discrepancy_of_normalised_features() -> None:
    given = drawn()
    real, made = (x / x.norm(dim=1, keepdim=True) for x in (given.reference.features, given.features))

    def mean(x: torch.Tensor, y: torch.Tensor) -> float:
        return float(torch.stack([torch.exp(-(a - b).square().sum() / 200) for a in x for b in y]).mean())

    value = get("cmmd").of(given).values["cmmd"]
    assert value == pytest.approx(1000 * (mean(real, real) + mean(made, made) - 2 * mean(real, made)))


def test_they_pass_the_check_of_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    assert plugins(["check", str(FILE)]) == 0
    assert "better than noise: precision" in capsys.readouterr().out


@pytest.mark.parametrize(("generated", "held"), [(5, 30), (40, 5)])
def test_too_few_images_for_a_fifth_neighbour_are_a_sentence(generated: int, held: int) -> None:
    with pytest.raises(
        UserError, match=f"at least 6 images on each side, not {generated} generated and {held}"
    ):
        get("precision").of(drawn(generated, held))
    assert len(get("precision").of(drawn(6, 6)).values) == 4
    assert get("cmmd").of(drawn(1, 2)).values["cmmd"] is not None
