"""The parity table: what must agree with other libraries does, what differs has its reason, and a wrong value fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import flowbench
from bench.parity import __main__ as parity
from bench.parity.inception_peers import FIDELITY_FILE, random_weights
from bench.parity.peer_metrics import FRECHET, KERNEL, TOLERANCE
from flowbench._core.plugin import load_plugin

CPU = torch.device("cpu")
pytest.importorskip("torch_fidelity", reason="the extra 'test' is not installed")


def features(count: int, seed: int, dim: int = 16) -> torch.Tensor:
    """Not negative and correlated, as Inception's."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator) / 4
    return torch.relu(torch.randn(count, dim, generator=generator) @ mixing + 0.2)


def test_distances_of_the_same_features_agree_with_all_libraries() -> None:
    load_plugin(Path(flowbench.ROOT) / "examples" / "more_metrics.py")
    lines = list(parity.of_features(features(60, 0), features(50, 1)))
    same = [(line.what, line.library) for line in lines if line.same]
    assert same == [
        *(("FID of the same features", library) for library in FRECHET),
        *(("KID of the same features", library) for library in KERNEL),
        *((metric, "torch-fidelity") for metric in ("precision", "recall")),
    ]
    assert all(line.agrees for line in lines)


def test_distances_agree_with_fewer_images_than_features() -> None:
    lines = [line for line in parity.of_features(features(10, 0), features(12, 1)) if line.same]
    assert all(line.agrees for line in lines), list(map(str, lines))


def test_other_formulas_differ() -> None:
    lines = {
        line.library: line for line in parity.of_features(features(60, 0), features(60, 1)) if not line.same
    }
    assert lines["StyleGAN2-ADA's formula"].difference > TOLERANCE
    assert {"clean-fid", "torch-fidelity", "torchmetrics"} < lines.keys()


def test_features_are_the_same_unless_another_library_resizes(tmp_path: Path) -> None:
    torch.save(random_weights(tmp_path), tmp_path / FIDELITY_FILE)
    peers = parity.networks(tmp_path, tmp_path / "none", CPU)
    large, small = (
        list(parity.of_images(parity.extracted(peers, parity.pictures("scenes", 1, side)), side))
        for side in (299, 32)
    )
    assert all(line.agrees for line in (*large, *small))
    assert {line.library for line in small if line.difference > TOLERANCE} == {
        "torch-fidelity",
        "torchmetrics",
    }


def test_clip_scores_are_those_of_torchmetrics(tmp_path: Path) -> None:
    through, pillow = parity.of_captions(tmp_path / "clip", 8)
    assert through.same
    assert through.agrees, str(through)
    assert not pillow.same
    assert pillow.difference > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "no Inception weights"),
        (lambda folder: (folder / "inception-2015-12-05.pt").touch(), "has to lie in that folder, too"),
        (
            lambda folder: [(folder / n).touch() for n in ("inception-2015-12-05.pt", FIDELITY_FILE)],
            "is not torch-fidelity's file of weights",
        ),
    ],
)
def test_absent_weights_are_a_sentence(
    make: Callable[[Path], object], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)
    assert parity.main(["--inception", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert parity.main(["--count", "2"]) == 2


def test_a_wrong_value_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = parity.Line.of("FID", "clean-fid", 1.0, 1.01, "the same")
    monkeypatch.setattr(parity, "networks", lambda *given: SimpleNamespace())
    monkeypatch.setattr(parity, "lines", lambda *given: iter([wrong]))
    monkeypatch.setattr(parity, "of_captions", lambda *given: iter(()))
    assert parity.main([]) == 2
    shown = capsys.readouterr()
    assert "| WRONG |" in shown.out
    assert "1 of the values marked WRONG" in shown.err
