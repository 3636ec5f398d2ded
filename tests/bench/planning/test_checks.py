"""A dry run fails where the run would, with the same sentence: weights, device, disk, pictures. Contradictions are named."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from bench import encoders, grid
from bench.cli.parser import parse
from bench.config.experiment import Evaluation, Grid, Images, Training
from bench.config.presets import PRESETS, preset
from bench.config.sampling_settings import Setting
from bench.cost import price
from bench.driver import checks
from bench.planning import config_warnings, plan
from bench.worker import setup
from flowbench._core.errors import UserError

from ..runs import SMALL, both

ABSENT = ["clip:nowhere/at-all", "torchmetrics:openai/clip-of-none", "inception:nowhere", "clip:..//x y"]


ASK = price.ask


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed."""
    monkeypatch.setattr("bench.cost.price.ask", lambda *given: pytest.fail("a check comes before"))


@pytest.mark.parametrize("spec", ABSENT)
@pytest.mark.parametrize("option", ["--extractor", "--text"])
def test_weights_that_are_not_there(
    spec: str,
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sentence is the one with which loading them ends."""
    monkeypatch.chdir(tmp_path)
    said = both([option, spec, "--out", str(tmp_path / "run")], capsys)
    with pytest.raises(UserError) as loading:
        (encoders.text_encoder if option == "--text" else encoders.extractor)(spec)
    assert said == f"error: {loading.value}"
    assert not list(tmp_path.rglob("submission.json")), "nothing was submitted"


def test_a_single_network_cannot_be_dropped_from_an_encoder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = both(["--drop-encoders", ".464", "--out", str(tmp_path / "run")], capsys)
    assert said.startswith(
        "error: --drop-encoders 0.464: --text tinyclip is a single network, whose captions --dropout"
    )


def test_what_stands_for_dropped_captions_needs_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dropped", "empty", "--dropout", "0", "--settings", "2:1", "--out", str(tmp_path / "run")]
    assert both(options, capsys).startswith(
        "error: --dropped empty: neither training nor a sampler setting drops"
    )


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no CLIP model .* it has no config\.json"):
        encoders.get(f"clip:{tmp_path}").check()
    (tmp_path / "config.json").touch()
    with pytest.raises(UserError, match=r"it has no model\.safetensors"):
        encoders.get(f"clip:{tmp_path}").check()
    (tmp_path / "pytorch_model.bin.index.json").touch()
    encoders.get(f"clip:{tmp_path}").check()


def test_a_model_of_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "models--some--clip"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("c0de")
    (kept / "snapshots" / "c0de").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (kept / "snapshots" / "c0de" / name).touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoders.get("clip:some/clip").check()
    with pytest.raises(UserError, match="not in your cache"):
        encoders.get("clip:some/other").check()


def test_a_disk_that_is_too_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(place: Path) -> Any:
        asked.append(place)
        return shutil._ntuple_diskusage(10**9, 10**9, 10_000)  # type: ignore[attr-defined]

    monkeypatch.setattr(checks.shutil, "disk_usage", usage)
    said = both(["--out", str(tmp_path / "a" / "b")], capsys)
    assert "the files of this run take " in said
    assert "and 10 kB are free there" in said
    assert asked == [tmp_path / "a" / "b", tmp_path / "a"], "the nearest folder that is there"
    made = plan.make(parse(SMALL).grid, tmp_path / "c" / "d")
    with pytest.raises(UserError, match="10 kB are free"):
        checks.check_disk([made.cells], made.grid, made.out)
    assert asked[-1] == tmp_path, "the nearest folder that is there"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("count", [2, 40, 300])
@pytest.mark.parametrize("fault", ["no captions", "too few", "other words"])
def test_pictures_that_cannot_be_used(
    count: int,
    fault: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Few and many, by the sentence with which making them ready ends."""
    if fault == "too few" and count > 2:
        pytest.skip("enough")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    there = tmp_path / "pictures"
    there.mkdir()
    for i in range(count):
        Image.new("RGB", (8, 8), (i % 256, i // 256, 0)).save(there / f"{i}.png")
        if fault != "no captions" or not i:
            words = "grazing zebras" if fault == "other words" else "a photo of the digit two"
            (there / f"{i}.txt").write_text(words)
    spec = f"images:{there}"
    arguments = [*SMALL, "--datasets", spec, "--out", str(tmp_path / "run"), "--dry-run"]
    assert grid.main(arguments) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(UserError) as making:
        setup.make(spec, parse(arguments).grid, torch.device("cpu"))
    assert said == f"error: {making.value}"


def test_a_plugin_that_fails_its_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = tmp_path / "bad.py"
    plugin.write_text(
        "from formulations import Formulation, register\n"
        "from formulations.targets import velocity\n"
        "@register('bad/backwards')\n"
        "def backwards():\n"
        "    return Formulation(path=lambda t: (t, 1 - t), target=velocity, sampler='lognorm(0,1)')\n"
    )
    given = ["--plugin", str(plugin), "--formulations", "rf", "bad/backwards", "--out", str(tmp_path / "run")]
    assert "formulation 'bad/backwards' fails its check: " in both(given, capsys)


@pytest.mark.usefixtures("here")
def test_no_gpu_where_one_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cost.price.ask", ASK)
    if torch.cuda.is_available():
        pytest.skip("there is one")
    said = both(["--device", "cuda", "--out", str(tmp_path / "run")], capsys)
    assert said.startswith("error: --device 'cuda' cannot be used (")
    assert said.endswith("): choose 'auto' or 'cpu'")


def made(settings: tuple[Setting, ...] = (), validation: int = 2_000, **training: Any) -> Grid:
    usual = Grid(images=Images(validation=validation), training=Training(**training))
    return replace(usual, evaluation=Evaluation(settings)) if settings else usual


PLAIN, GUIDED = Setting(5, 1.0), Setting(5, 2.5)
CONTRADICTIONS: list[tuple[Grid, str]] = [
    (made(dropout=0.0), "--dropout 0: no network sees an empty caption"),
    (made(dropout=1.0), "--dropout 1: no network sees a caption"),
    (made(drop_encoders=1.0), "--drop-encoders 1: no network sees a caption"),
    (made(steps=100, validations=5), "--warmup 200 is longer than the run of 100 steps"),
    (made(steps=250, decay=0.5), "--warmup 200 overlaps the last 50% of 250 steps"),
    (made(steps=10, warmup=2), "--validations 20 are more than 10 steps"),
    (made(lr=3.0), "--lr 3: AdamW moves each weight by about that much in a step"),
    (replace(made(), evaluation=Evaluation(start=0.001)), "--start 0.001: sampling starts from noise"),
    (made(validation=128), "--validation-batch 256 is more than 128 validation images"),
    (replace(made(), budgets=(100, 20_000)), "--warmup 200 is longer than the run of 100 steps"),
]


@pytest.mark.parametrize(("contradiction", "begins"), CONTRADICTIONS)
def test_contradictions_are_reported_once(contradiction: Grid, begins: str) -> None:
    (said,) = config_warnings.warnings(contradiction)
    assert said.startswith(begins)


@pytest.mark.parametrize(
    "sensible",
    [
        made(),
        made((PLAIN,), dropout=0.0),
        made(dropout=0.0, drop_encoders=0.464),
        made(steps=200, validations=200),
        made(steps=400, decay=0.5),
        made(lr=0.1),
    ],
)
def test_sense_gives_no_warning(sensible: Grid) -> None:
    assert not list(config_warnings.warnings(sensible))


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_contradicts_itself(name: str) -> None:
    assert not list(config_warnings.warnings(preset(name)))


def test_the_study_at_its_size_is_priced_and_all_that_is_absent_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--preset", "imagenet", "--formulations", "rf", "eps/linear"]
    assert grid.main([*command, "--dry-run", "--tflops", "400", "--price", "2.5"]) == 2
    out, err = capsys.readouterr()
    found = re.search(
        r"cost: about ([\d,.]+) device-hours \(.*at 400 TFLOP/s.*\), ([\d,.]+) at 2.5 for each", out
    )
    assert found
    hours, money = (float(each.replace(",", "")) for each in found.groups())
    assert money == pytest.approx(2.5 * hours, rel=0.01)
    latents = 1_281_167 * 32_768 + 40_504 * (32_768 + 3 * 256**2)  # of the study's table 7, half: means alone
    captions = 1_321_671 * 954_368
    assert (
        f"encoded:imagenet {latents / 1e9:.1f} GB, 16x32x32 each; a distinct caption at most 954 kB, " in out
    )
    assert f"{captions / 1e12:.3g} TB if all images differ in it" in out
    assert "memory: " in out
    assert grid.main(command) == 2
    for last in (err.splitlines()[-1], capsys.readouterr().err.splitlines()[-1]):
        for absent in ("encoded:imagenet", "clip-vit-large-patch14", "CLIP-ViT-bigG-14", "t5-v1_1-xxl"):
            assert absent in last
    assert grid.main([*command, "--price", "2.5"]) == 2
    assert "--price is for the estimate of --dry-run" in capsys.readouterr().err


@pytest.mark.parametrize("look", [[], ["--dry-run"]])
def test_a_contradiction_is_reported_before_the_run_and_in_its_dry_run(
    look: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*given: object) -> None:
        raise UserError("begun")

    monkeypatch.setattr("bench.launch.snapshot.take", stop)
    monkeypatch.setattr("bench.cost.estimate.rates", lambda *given: ({}, "a table"))
    monkeypatch.setattr("bench.cost.estimate.share_seconds", lambda *given: 1.0)
    arguments = [*SMALL, "--dropout", "0", "--settings", "2:5", "--out", str(tmp_path / "run"), *look]
    assert grid.main(arguments) == (0 if look else 2)
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("warning: --dropout 0: ") == 1
