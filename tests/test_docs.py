"""The pages for users: their links lead somewhere, their commands run as they are written, README is short."""

from __future__ import annotations

import contextlib
import importlib
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flowbench
from bench import grid
from bench.data import load
from flowbench.console import COMMANDS

from .bench.data.encoding import stored
from .bench.encoders.small_models import sd3_models

ROOT = Path(flowbench.ROOT)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("[a-z]*/README.md")),
]
SHOWN = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("guide", "latents", "plugins"))]
"""Pages whose commands are run here; those of the others have tests of their own."""
SMALLER = {
    "bench.autoencoder": "--steps 2 --batch 4 --width 8 --device cpu",
    "bench.grid": "--dry-run --device cpu --tflops 0.1",
    "bench.compare": "--preset smoke --steps 4 --warmup 1 --validations 1 --seeds 1 --samples 8 --settings 2:1 --device cpu",
    "bench.speed": "--tiny",
    "bench.tinyclip": "--steps 4 --batch 16 --resolution 16 --train 60 --validation 20",
}
"""Options that make a command small."""
SMALL = """--preset smoke --datasets digits --resolution 8 --patch 4 --warmup 1 --validations 1
    --device cpu --validation-batch 16 --samples 16 --settings 2:5 4:5"""
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_readme_is_a_short_tour() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def commands() -> Iterator[tuple[str, list[str]]]:
    """The module and the arguments of every command on the pages; of several equal ones, one."""
    seen: set[str] = set()
    for page in SHOWN:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words[:2] == ["python", "-m"] and " ".join(words) not in seen:
                    seen.add(" ".join(words))
                    yield words[2], words[3:]


def autoencoder(folder: Path) -> None:
    """A small autoencoder of diffusers with random weights."""
    from diffusers import AutoencoderTiny

    sizes = {f"{side}_block_out_channels": (4,) * 4 for side in ("encoder", "decoder")}
    AutoencoderTiny(**sizes, num_encoder_blocks=(1,) * 4, num_decoder_blocks=(1,) * 4).save_pretrained(folder)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages name: a finished run, a plugin, captioned images, an encoder and an archive."""
    here = tmp_path_factory.mktemp("docs")
    tiny = shlex.split(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        usual = [
            "--formulations",
            "rf/lognorm(0,1)",
            "eps/linear",
            "v/linear",
            "--seeds",
            "2",
            "--steps",
            "4",
        ]
        assert grid.main([*tiny, *usual, "--out", "runs/quick"]) == 0
        sweep = ["--formulations", "rf", "--depths", "1", "2", "--budgets", "3", "4", "--samples", "16"]
        assert grid.main([*tiny, *sweep, "--out", "runs/scaling"]) == 0
        other = ["--model", "mmdit:gelu=tanh", "--formulations", "rf/lognorm(0,1)", "--steps", "4"]
        assert grid.main([*tiny, *other, "--out", "runs/tanh"]) == 0
        several = ["--formulations", "rf/lognorm(0,1)", "eps/linear", "--networks", "mmdit", "dit"]
        assert grid.main([*tiny, *several, "--seeds", "2", "--steps", "4", "--out", "runs/size"]) == 0
    autoencoder(here / "vae")
    sd3_models(here)
    stored.edm2_zip(here / "edm2.zip")
    stored.mds(here / "imagenet_int8", stored.eight_bits(28)[1])
    (here / "names.txt").write_text("tench\ngoldfish\ngreat white shark\n")
    shutil.copytree(ROOT / "results" / "headline-digits", here / "results" / "headline-digits")
    plugin = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert plugin
    (here / "my.py").write_text(plugin[1])
    page = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for name, text in re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL):
        (here / name).write_text(text)
    data = load("shapes", resolution=16, train=120, validation=16)
    (here / "PATH").mkdir()
    for i, (image, caption) in enumerate(zip(data.train.reference, data.train.captions, strict=True)):
        Image.fromarray(np.moveaxis(image, 0, -1)).save(here / "PATH" / f"{i:03}.png")
        (here / "PATH" / f"{i:03}.txt").write_text(caption)
    return here


@pytest.mark.parametrize(
    ("module", "arguments"),
    [pytest.param(*each, id=" ".join([each[0], *each[1]])[:70]) for each in commands()],
)
def test_commands_run_as_they_are_written(
    module: str, arguments: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "100")
    if "my.safetensors" in " ".join(arguments) and module != "bench.tinyclip":
        shutil.copy(ROOT / "bench" / "encoders" / "weights" / "tinyclip.safetensors", "my.safetensors")
    if arguments[:1] == ["model"] and not Path("model").exists():
        keep = importlib.import_module("bench.keep").main
        assert keep(["runs/quick", "rf/lognorm(0,1)", "model"]) == 0
    run_command(module, arguments)


def run_command(module: str, arguments: list[str]) -> None:
    """Run a command of the pages, after those that make what it reads: another process may have run them elsewhere."""
    read = {word.rpartition(":")[2] for word in arguments if word != written(arguments)}
    for earlier, others in OF_LATENTS:
        if written(others) in read and not Path(written(others)).exists():
            run_command(earlier, others)
    name = module if module in {c.module for c in COMMANDS.values()} else f"{module}.__main__"
    main: Callable[[list[str]], int] = importlib.import_module(name).main
    with contextlib.suppress(SystemExit):  # --help
        assert main([*arguments, *SMALLER.get(module, "").split()]) == 0


def written(arguments: list[str]) -> str:
    """The folder that a command writes."""
    return arguments[arguments.index("--out") + 1] if "--out" in arguments else ""


OF_LATENTS = [
    each for each in commands() if each[0] in ("bench.autoencoder", "bench.encode") and written(each[1])
]
