"""A COCO folder, a class folder and data sets of Hugging Face, from files to a ranking, as README says it is done."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bench import grid
from bench import tinyclip as tinyclip_cli

from .runs import SMALL, files

COUNT = 80
COLOURS = ("red", "green", "blue", "black")


def picture(i: int) -> bytes:
    noise = np.random.default_rng(i).integers(0, 60, (16, 16, 3), np.uint8)
    flat = np.array(Image.new("RGB", (16, 16), COLOURS[i % 4]))
    buffer = io.BytesIO()
    Image.fromarray(np.maximum(flat, noise)).save(buffer, "PNG")
    return buffer.getvalue()


def coco(folder: Path) -> None:
    for i in range(COUNT):
        (folder / f"{i:012d}.png").write_bytes(picture(i))
    images = [{"id": i, "file_name": f"{i:012d}.png"} for i in range(COUNT)]
    notes = [
        {"image_id": i, "caption": f"{a} {COLOURS[i % 4]} thing"} for i in range(COUNT) for a in ("a", "one")
    ]
    (folder.parent / "annotations").mkdir()
    (folder.parent / "annotations" / "captions_val.json").write_text(
        json.dumps({"images": images, "annotations": notes})
    )


def classes(folder: Path) -> None:
    for i in range(COUNT):
        (folder / f"{COLOURS[i % 4]}_wall").mkdir(exist_ok=True)
        (folder / f"{COLOURS[i % 4]}_wall" / f"{i}.JPEG").write_bytes(picture(i))


def rows() -> pa.Table:
    pictures = [{"bytes": picture(i), "path": None} for i in range(COUNT)]
    return pa.table({"image": pictures, "text": [f"some {COLOURS[i % 4]}" for i in range(COUNT)]})


def parquet(folder: Path) -> None:
    pq.write_table(rows(), folder / "train-00000-of-00001.parquet", row_group_size=30)


def saved(folder: Path) -> None:
    table = rows()
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text(
        json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    )


def test_from_files_to_a_ranking(tmp_path: Path, here: None, capsys: pytest.CaptureFixture[str]) -> None:
    specs = []
    for make in (coco, classes, parquet, saved):
        folder = tmp_path / f"of_{make.__name__}" / make.__name__
        folder.mkdir(parents=True)
        make(folder)
        specs.append(f"images:{folder}")
    weights, run = tmp_path / "my.safetensors", tmp_path / "run"
    few = ["--steps", "2", "--batch", "16", "--resolution", "16", "--out", str(weights)]
    assert tinyclip_cli.main(["--data", *specs, *few]) == 0
    clip = ["--text", f"tinyclip:{weights}", "--extractor", f"tinyclip:{weights}"]
    once = ["--formulations", "rf", "--settings", "2:1", "--out", str(run)]
    assert grid.main([*SMALL, *once, *clip, "--datasets", *specs]) == 0, capsys.readouterr().err
    frame = pd.read_parquet(run / "results.parquet")
    assert set(frame["dataset"]) == set(specs)
    assert np.isfinite(frame[["clip", "fid", "kid"]].to_numpy(float)).all()
    logs = "".join(file.read_text() for file in run.rglob("*.log"))
    assert "the captions are made of the names of 4 folders" in logs
    printed = capsys.readouterr().out
    assert "references only: below 100 of each" in printed


def test_images_added_between_two_commands(
    tmp_path: Path, here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, weights, run = tmp_path / "walls", tmp_path / "my.safetensors", tmp_path / "run"
    folder.mkdir()
    classes(folder)
    spec = f"images:{folder}"
    few = ["--steps", "2", "--batch", "16", "--resolution", "16", "--out", str(weights)]
    assert tinyclip_cli.main(["--data", spec, *few]) == 0
    command = [*SMALL, "--formulations", "rf", "--settings", "2:1", "--steps", "2", "--validations", "1"]
    command += ["--text", f"tinyclip:{weights}", "--extractor", f"tinyclip:{weights}"]
    command += ["--datasets", spec, "--out", str(run)]
    assert grid.main(command) == 0
    before = files(run)

    for i in range(COUNT, COUNT + 20):
        (folder / "red_wall" / f"{i}.JPEG").write_bytes(picture(4 * i))
    capsys.readouterr()
    for look in (["--dry-run"], []):
        assert grid.main([*command, "--seeds", "2", *look]) == 2
        assert f"the images or captions of {spec} changed after 1 cell in" in capsys.readouterr().err
        assert before.items() <= files(run).items(), "nothing was trained or lost"
        assert not look or files(run) == before, "a look leaves nothing"

    assert grid.main([*command, "--seeds", "2", "--retry", "all"]) == 0
    frame = pd.read_parquet(run / "results.parquet")
    assert set(frame["seed"]) == {0, 1}
    assert frame["fid_name"].nunique() == 1, "both seeds are compared with the same images"
    configs = [json.loads(file.read_text()) for file in run.glob("cells/*/config.json")]
    assert len({config["data"] for config in configs}) == 1
