"""The parts of tinyclip's training, and its command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.encoders import tinyclip_encoder
from bench.encoders.tinyclip_train import Batches, Recipe, augment, contrastive_loss, distinct, load_sources
from bench.tinyclip import command_of, main, parser, recipe_of

TINY = Recipe(train=120, validation=40, steps=30, batch=16, resolutions=(16,))
OPTIONS = ["--train", "120", "--validation", "40", "--steps", "30", "--batch", "16", "--resolution", "16"]


def reference_loss(image: Tensor, text: Tensor, target: list[int], scale: float) -> float:
    """The definition, in loops and float64."""
    image, text = image.double().numpy(), text.double().numpy()
    s = [[scale * a @ b / np.sqrt((a @ a) * (b @ b)) for b in text] for a in image]
    to_text = np.mean([-s[b][u] + np.log(sum(np.exp(s[b]))) for b, u in enumerate(target)])
    columns = []
    for u in sorted(set(target)):
        total = np.log(sum(np.exp(s[b][u]) for b in range(len(image))))
        columns.append(np.mean([total - s[b][u] for b in range(len(image)) if target[b] == u]))
    return float(0.5 * to_text + 0.5 * np.mean(columns))


def test_the_loss_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = torch.randn(6, 5, generator=generator), torch.randn(8, 5, generator=generator)
    target = [0, 1, 1, 4, 0, 0]
    loss = contrastive_loss(image, text, torch.tensor(target), 7.0)
    assert float(loss) == pytest.approx(reference_loss(image, text, target, 7.0), rel=1e-5)


def test_pictures_of_one_caption_are_no_negatives() -> None:
    """With one caption and no twins there is nothing to distinguish but pictures, uniformly."""
    image = torch.eye(3)[[0, 0, 0]]
    loss = contrastive_loss(image, torch.eye(3)[:1], torch.zeros(3, dtype=torch.long), 5.0)
    assert float(loss) == pytest.approx(0.5 * np.log(3))


def test_a_twin_that_is_another_pictures_caption_is_dropped() -> None:
    ids = np.array([[5, 6], [3, 4], [5, 6]])
    captions, target = distinct(ids, np.array([[3, 4], [9, 9], [6, 5], [9, 9]]))
    assert (captions[target] == ids).all()
    assert captions[:2].tolist() == [[3, 4], [5, 6]]
    assert sorted(captions[2:].tolist()) == [[6, 5], [9, 9]]


def test_augmentation_keeps_the_picture_but_for_a_pixel_and_noise() -> None:
    images = torch.zeros(64, 1, 9, 9, dtype=torch.uint8)
    images[:, :, 2, 3] = 255
    out = augment(images, torch.Generator().manual_seed(0))
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert 0 <= float(out.min()) <= float(out.max()) <= 255
    places = {divmod(int(i), 9) for i in out.flatten(1).argmax(1)}
    assert places == {(y, x) for y in (1, 2, 3) for x in (2, 3, 4)}


def test_batches_hold_every_data_set_and_repeat() -> None:
    sources, tokenizer = load_sources(TINY)
    batches = [Batches(TINY, sources, len(tokenizer.words), 32)(0) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))
    pictures, ids, captions, target = batches[0]
    assert pictures.shape == (len(ids), 3, 32, 32)
    assert torch.equal(captions[target], ids)
    said = {tokenizer.decode(row.tolist()).split()[1] for row in ids}
    assert said == {"photo", "small", "large"}  # digits, and the generated ones


def test_few_captions_take_a_small_part_of_a_batch() -> None:
    """120 pictures of each: nearly all of ``scenes`` have a caption of their own, those of ``digits`` one of ten."""
    recipe = replace(TINY, batch=100)
    sources, tokenizer = load_sources(recipe)
    shapes, scenes, digits = Batches(recipe, sources, len(tokenizer.words), 32).shares
    assert digits / scenes == pytest.approx((10 / 119) ** 0.25, rel=0.05)
    assert digits < shapes < scenes


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tinyclip") / "my.safetensors"
    assert main([*OPTIONS, "--out", str(path)]) == 0
    return path


def test_the_command_writes_a_loadable_file(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tinyclip_encoder.load(trained)
    assert clip.recipe["steps"] == 30
    assert clip.recipe["command"] == (
        "python -m bench.tinyclip --resolution 16 --train 120 --validation 40 --steps 30 --batch 16"
    )
    assert set(clip.recipe["held out"]) == {"shapes at 16", "scenes at 16", "digits at 16"}
    assert clip.recipe["held out"]["scenes at 16"].keys() >= {
        "R@1 of 40, image to text",
        "binding of colors, right",
    }
    assert [p.name for p in trained.parent.iterdir()] == [trained.name]
    assert main(["--describe", str(trained)]) == 0
    printed = capsys.readouterr().out
    assert clip.name in printed
    assert "accuracy among 10 captions" in printed


def test_the_same_command_writes_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    assert main([*OPTIONS, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again").read_bytes() == trained.read_bytes()


def test_the_recorded_command_asks_for_the_recipe() -> None:
    recipe = replace(TINY, seed=3, twins=1, length=8, learning_rate=0.002, data=("digits",))
    words = command_of(recipe).split()[3:]
    assert recipe_of(parser().parse_args(words)) == recipe
    assert recipe_of(parser().parse_args([])) == Recipe()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give --out FILE to train an encoder, or --describe to see one"),
        (["--out", "{tmp}"], "is a folder"),
        (["--out", "{tmp}/none/my"], "there is no folder"),
        (["--out", "{tmp}/my", "--steps", "0"], "--steps 0 is too small: the least is 1"),
        (["--out", "{tmp}/my", "--steps", "many"], "argument --steps: 'many' is not a whole number"),
        (["--out", "{tmp}/my", "--learning-rate", "nan"], "--learning-rate nan is not between 0 and 1"),
        (["--out", "{tmp}/my", "--step", "9"], "did you mean '--steps'"),
        (["--out", "{tmp}/my", "--data", "shape"], "did you mean 'shapes'"),
        (["--out", "{tmp}/my", "--resolution", "4"], "resolution is 4"),
        (["--describe", "--steps", "9"], "--describe trains nothing"),
        (["--describe", "{tmp}/none"], "no tinyclip weights at"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(tmp=tmp_path) for word in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert sentence in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_every_caption_of_a_picture_is_trained_on(tmp_path: Path) -> None:
    """Each batch's captions belong to its pictures: here a picture's shade is the number in all its captions."""
    for i in range(40):
        Image.new("L", (8, 8), 6 * i).save(tmp_path / f"{i}.png")
    lines = [f"{i}.png#{k}\tshade {i} caption {k}\n" for i in range(40) for k in range(3)]
    (tmp_path / "captions.txt").write_text("".join(lines))
    recipe = replace(TINY, data=(f"images:{tmp_path}",), resolutions=(8,))
    sources, tokenizer = load_sources(recipe)
    assert {"0", "1", "2"} <= set(tokenizer.words)
    batches = Batches(recipe, sources, len(tokenizer.words), 8)
    seen = set()
    for step in range(8):
        pictures, ids, _, _ = batches(step)
        for picture, row in zip(pictures, ids.numpy(), strict=True):
            _, shade, _, which = tokenizer.decode(row).split()
            mean = float(picture.mean()) * 127.5 + 127.5
            assert mean == pytest.approx(6 * int(shade), abs=12)
            seen.add(which)
    assert seen == {"0", "1", "2"}
