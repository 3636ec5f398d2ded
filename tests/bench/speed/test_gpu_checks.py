"""The checks of a GPU as far as a processor can show: each runs, is written, and none stops another."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from bench.speed import gpu_checks
from bench.speed.__main__ import main, parse
from bench.speed.gpu_checks import CHECKS, Found, carry_out
from bench.speed.sizes import SIZES
from flowbench._core.errors import UserError

NAMES = ("replay", "waiting", "members", "depth18", "tokens", "encode", "published")
LONG = {"published": (pytest.mark.long,)}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> gpu_checks.Scope:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return parse(["--tiny"])


def test_what_is_checked() -> None:
    assert tuple(CHECKS) == NAMES
    for name in ("d12", "d18"):
        shape = SIZES[name].shape
        assert (shape.image_tokens, shape.text_length, SIZES[name].precision) == (256, 154, "bf16")


@pytest.mark.parametrize("name", [pytest.param(name, marks=LONG.get(name, ())) for name in NAMES])
def test_each_runs_on_a_processor(name: str, tiny: gpu_checks.Scope) -> None:
    if name == "encode":
        pytest.importorskip("diffusers", reason="the extra 'latents' is not installed")
    found = CHECKS[name](tiny)
    assert found.ok, found.said
    assert found.numbers
    assert all(math.isfinite(value) and value >= 0 for value in found.numbers.values())


def test_the_autoencoder_has_the_sizes_of_stable_diffusion() -> None:
    diffusers = pytest.importorskip("diffusers", reason="the extra 'latents' is not installed")
    with torch.device("meta"):
        model = diffusers.AutoencoderKL(**gpu_checks.AUTOENCODER)
    assert sum(p.numel() for p in model.parameters()) == 83_653_863


def test_weights_that_drift_apart_are_no_replay(
    tiny: gpu_checks.Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = gpu_checks.Trainer.update
    monkeypatch.setattr(gpu_checks.Trainer, "release", lambda trainer: setattr(trainer, "slow", True))

    def slower(
        trainer: gpu_checks.Trainer, batch: object, c: object, index: int, lr: float, fresh: float
    ) -> None:
        usual(trainer, batch, c, index, lr * (0.5 if hasattr(trainer, "slow") else 1), fresh)  # type: ignore[arg-type]

    monkeypatch.setattr(gpu_checks.Trainer, "update", slower)
    assert not CHECKS["replay"](tiny).ok


def test_a_step_that_waits_is_found(tiny: gpu_checks.Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_checks.Trainer, "step", lambda trainer, *given: trainer.health.total.sum().item())
    with pytest.raises(RuntimeError, match="waits for the device"):
        CHECKS["waiting"](tiny)


def test_one_that_fails_does_not_stop_the_next(
    tiny: gpu_checks.Scope,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, seen = tmp_path / "checks.json", list[int]()

    def broken(scope: gpu_checks.Scope) -> Found:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")

    def fine(scope: gpu_checks.Scope) -> Found:
        seen.append(len(json.loads(file.read_text())["checks"]))
        return Found("fast", {"ms": 1.0})

    monkeypatch.setattr(gpu_checks, "CHECKS", {"first": broken, "second": fine})
    assert carry_out(tiny, {"device": "none"}, file) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith("first: FAILED: OutOfMemoryError: CUDA out of memory. (")
    assert second.startswith("second: ok: fast (")
    assert last == f"in {file}"
    assert seen == [1], "each is written before the next begins"
    kept = json.loads(file.read_text())
    assert kept["machine"] == {"device": "none"}
    assert [(c["check"], c["ok"], c["numbers"]) for c in kept["checks"]] == [
        ("first", False, {}),
        ("second", True, {"ms": 1.0}),
    ]


def test_without_a_gpu_it_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--gpu-checks", "--json", str(tmp_path / "x.json")]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "error: --gpu-checks needs an NVIDIA GPU, and torch finds none here: run it on a machine that has one\n"
    )
    assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", [["--tiny"], ["--parts", "step"], ["--repeats", "3"], ["--no-compile"]])
def test_it_takes_no_other_option(other: list[str]) -> None:
    with pytest.raises(UserError, match=f"{other[0]} with --gpu-checks: the checks have sizes of their own"):
        parse(["--gpu-checks", *other])
