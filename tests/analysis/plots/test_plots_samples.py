"""The sheet of samples."""

from __future__ import annotations

import io
import json
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
from matplotlib.image import AxesImage
from PIL import Image
from safetensors.numpy import save_file

from analysis.plots import files
from analysis.plots.style import Drawn
from analysis.runs import cell_contents, run
from analysis.runs.run import Run
from bench.config.sampling_settings import ControlSetting

from ..plotted import FEW, one, ranked


def test_samples_are_the_pictures(few: Run, drawn: dict[str, Drawn]) -> None:
    """Row by row the best formulations, column by column captions and steps, pixel by pixel what the cells hold."""
    figure = drawn["samples"].figure
    (image,) = (i for i in figure.axes[0].get_images() if isinstance(i, AxesImage))
    sheet, order = np.asarray(image.get_array()), list(ranked(few).names)
    boxes = np.flatnonzero(np.diff(np.concatenate([[0], (sheet[0, :, 3] > 0).astype(int), [0]])) == 1)
    assert len(boxes) == 3 * 4
    for row, name in enumerate(order):
        for c, caption in enumerate((0, 1, 2)):
            for s, steps in enumerate((5, 10, 25, 50)):
                setting = ControlSetting(steps, 5.0, weights="ema")
                pictures = cell_contents.pictures(few, name, "synthetic", 0, setting, [caption])
                assert pictures is not None
                left = boxes[4 * c + s]
                shown = sheet[row * 17 : row * 17 + 16, left : left + 16, :3]
                assert np.array_equal(shown, pictures[0].transpose(1, 2, 0)), (name, caption, steps)
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts[: len(order)] == order
    assert texts[-3:] == ["a red circle", "a green circle", "a blue circle"]


def test_samples_are_crisp(drawn: dict[str, Drawn]) -> None:
    """Every pixel of a picture is a square of equal pixels in the PNG."""
    png = np.asarray(Image.open(io.BytesIO(files.render(drawn["samples"], "png"))).convert("RGB"))
    figure = drawn["samples"].figure
    frame = figure.axes[0].get_position().bounds
    height, width = png.shape[:2]
    left, top = round(frame[0] * width), round((1 - frame[1] - frame[3]) * height)
    sheet = np.asarray(figure.axes[0].get_images()[0].get_array())
    zoom = round(frame[2] * width) / sheet.shape[1]
    assert zoom == int(zoom) > 1
    zoom = int(zoom)
    block = png[top : top + 16 * zoom, left : left + 16 * zoom]
    assert np.array_equal(block, sheet[:16, :16, :3].repeat(zoom, axis=0).repeat(zoom, axis=1))


def test_large_pictures_are_averaged_to_a_page(tmp_path: Path) -> None:
    from analysis.plots.samples import mosaic

    part = np.random.default_rng(0).integers(0, 256, (3, 4, 256, 256, 3)).astype(np.uint8)
    sheet, left, size = mosaic([part, part], room=1700)
    assert sheet.shape[1] <= 1700
    assert size == (128, 128)
    assert len(left) == 12
    assert np.array_equal(sheet[0, 0, :3], part[0, 0, :2, :2].mean(axis=(0, 1)).round())


def test_the_sample_sheet_begins_with_real_images(few: Run, tmp_path: Path) -> None:
    shutil.copytree(few.path, tmp_path / "run")
    about = run.read(tmp_path / "run")
    captions = cell_contents.captions(about, "synthetic")
    kept = np.random.default_rng(0).integers(0, 256, (3, 3, 16, 16), dtype=np.uint8)
    file = about.path / "real-scores" / "recipe" / f"{sha256(b'synthetic').hexdigest()[:12]}.safetensors"
    file.parent.mkdir(parents=True)
    metadata = {"about": json.dumps({"captions": [captions[0], captions[0], captions[1]]})}
    save_file({"images": kept}, file, metadata=metadata)
    found = about.source.real_images("synthetic", captions[0], 5)
    assert found is not None
    assert (found == kept[:2]).all()
    assert about.source.real_images("synthetic", "another caption", 5) is None
    sheet = one(about, "samples")
    rows = [t.get_text() for t in sheet.figure.axes[0].texts]
    assert rows[: 1 + len(FEW)] == ["real images", *ranked(about).names]
    assert "First row: real images with the same captions" in sheet.caption
    (image,) = (i for i in sheet.figure.axes[0].get_images() if isinstance(i, AxesImage))
    shown = np.asarray(image.get_array())[:16]
    assert (shown[:, :16, :3] == kept[0].transpose(1, 2, 0)).all()
    assert (shown[:, 2 * 17 : 3 * 17 - 1, 3] == 0).all(), "there is no third real image of that caption"
    file.write_bytes(b"damaged")
    assert rows[0] not in [t.get_text() for t in one(about, "samples").figure.axes[0].texts]
