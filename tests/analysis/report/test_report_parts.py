"""The parts of a report by themselves: paths, pictures and their budget, anchors, small drawings, failures, provenance."""

from __future__ import annotations

import base64
import io
import json
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file

from analysis.report import failures, gallery, page_provenance, sparklines
from analysis.report.cards import anchors
from analysis.runs import cell_contents, run, synthetic
from analysis.runs.private import without_paths

NAMES = ("rf", "eps/linear", "v/cos")


def folder(out: Path, names: tuple[str, ...] = NAMES, **more: object) -> Path:
    truth = synthetic.Truth(names, tuple(float(-i) for i in range(len(names))))
    return synthetic.write(out, truth, **({"samples": 8, "weights": ("ema",)} | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--out /home/me/runs/quick --seeds 3", "--out …/quick --seeds 3"),
        ("--datasets=images:/data/me/birds", "--datasets=images:…/birds"),
        (
            'File "/home/me/.venv/lib/python3.12/site-packages/torch/nn/a.py", line 3',
            'File "…/torch/nn/a.py", line 3',
        ),
        (
            'File "/home/bench/my code/bench/launch/a.py", line 3, in f',
            'File "…/bench/launch/a.py", line 3, in f',
        ),
        ("/scratch/u/run/cells/ab12/result.json cannot be read", "…/cells/ab12/result.json cannot be read"),
        ("'/home/me/with space/x' is gone", "'…/x' is gone"),
        ("(/home/me/x)", "(…/x)"),
        ("rf/lognorm(0.00,1.00) and b / (a + b), 5/2.5", "rf/lognorm(0.00,1.00) and b / (a + b), 5/2.5"),
        ("see https://arxiv.org/abs/2403.03206", "see https://arxiv.org/abs/2403.03206"),
        ("runs/quick/cells", "runs/quick/cells"),
    ],
)
def test_paths_of_the_machine_are_cut_down(text: str, shown: str) -> None:
    assert without_paths(text) == shown
    assert without_paths(shown) == shown


def test_anchors_are_unique_and_keep_negative_numbers_apart() -> None:
    names = [
        "edm(-1.20,0.60)",
        "edm(1.20,0.60)",
        "edm(1.20,-0.60)",
        "edm[1.20,0.60]",
        "rf",
        "rf@50-5",
        "<b>",
        "(b)",
    ]
    found = anchors(names)
    assert found["edm(-1.20,0.60)"] == "card-edm-m1.20-0.60"
    assert found["edm(1.20,0.60)"] == "card-edm-1.20-0.60"
    assert found["rf@50-5"] == "card-rf-50-5"
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9.-]+", anchor) for anchor in found.values())


@given(st.integers(1, 200), st.integers(1, 10), st.sampled_from([1, 3]), st.integers(8, 512))
def test_pictures_keep_within_their_budget(
    formulations: int, settings: int, channels: int, edge: int
) -> None:
    sheet, card, size = gallery.plan(formulations, settings, channels, edge)
    shown = min(formulations, gallery.SHEET) * sheet + formulations * card
    bytes_each = (channels * size**2 + 260) * 4 / 3
    assert size <= edge
    assert 0 <= card <= gallery.CARD_CAPTIONS
    assert sheet >= gallery.FEWEST_CAPTIONS
    assert settings * shown * bytes_each <= gallery.BUDGET or (card == 0 and size < 2 * gallery.SMALLEST)


def test_few_small_pictures_are_shown_as_they_are() -> None:
    assert gallery.plan(6, 2, 3, 16) == (gallery.MOST_CAPTIONS, gallery.CARD_CAPTIONS, 16)
    assert gallery.plan(61, 2, 3, 256)[2] < 64


def test_a_picture_survives_its_data_uri() -> None:
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        image = rng.integers(0, 256, (channels, 5, 7), dtype=np.uint8)
        kind, _, data = gallery.uri(image).partition(",")
        assert kind == "data:image/png;base64"
        back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert (back.reshape(5, 7, channels).transpose(2, 0, 1) == image).all()


def test_shrinking_takes_means_of_blocks() -> None:
    image = np.array([[0, 2, 10, 10], [4, 6, 10, 10], [1, 1, 9, 9], [1, 1, 9, 9]], dtype=np.uint8)
    assert gallery.shrunk(image[None, None], 2).tolist() == [[[[3, 10], [1, 9]]]]
    assert gallery.shrunk(image[None, None], 4) is not None
    assert (gallery.shrunk(image[None, None], 4)[0, 0] == image).all()


def test_the_settings_with_most_and_fewest_steps_are_shown(tmp_path: Path) -> None:
    found = run.read(folder(tmp_path, weights=("raw", "ema"), pictures=2, seeds=2))
    assert [(s.weights, s.steps, s.cfg, s.seed) for s in gallery.settings(found)] == [
        ("ema", 50, 5.0, 0),
        ("ema", 5, 5.0, 0),
    ]
    made = gallery.gallery(found, NAMES)
    assert [strip.formulation for strip in made.sheets[0].strips] == list(NAMES)
    expected = cell_contents.pictures(found, "rf", "synthetic", 0, gallery.settings(found)[0], [1])
    assert expected is not None
    assert made.sheets[0].strips[0].pictures[1].uri == gallery.uri(expected[0])
    assert made.sheets[0].strips[0].pictures[1].caption == "a green circle"
    assert len(made.cards["v/cos"]) == 2


def test_the_sheets_begin_with_real_images(tmp_path: Path) -> None:
    """One for each caption that has one: the second time a caption stands there it has another image, if there is one."""
    found = run.read(folder(tmp_path, pictures=3))
    captions = cell_contents.captions(found, "synthetic")
    real = np.arange(2 * 3 * 16 * 16).astype(np.uint8).reshape(2, 3, 16, 16)
    file = tmp_path / "real-scores" / "r" / f"{sha256(b'synthetic').hexdigest()[:12]}.safetensors"
    file.parent.mkdir(parents=True)
    save_file({"images": real}, file, metadata={"about": json.dumps({"captions": [captions[0]] * 2})})
    made = gallery.gallery(found, NAMES)
    assert made.real
    first = made.sheets[0].strips[0]
    assert first.real
    assert [strip.formulation for strip in made.sheets[0].strips[1:]] == list(NAMES)
    shown = [p.uri if p else None for p in first.pictures]
    left = [gallery.uri(image) for image in real]
    for caption, picture in zip(made.sheets[0].captions, shown, strict=True):
        wanted = left.pop(0) if caption == captions[0] and left else None
        assert picture == wanted
    assert not any(strip.real for sheets in made.cards.values() for sheet in sheets for strip in sheet.strips)


def test_the_seed_that_most_have_finished_is_shown(tmp_path: Path) -> None:
    out = folder(
        tmp_path, pictures=1, seeds=2, status=lambda f, d, s: "diverged" if f != "rf" and s == 0 else None
    )
    assert {s.seed for s in gallery.settings(run.read(out))} == {1}


def test_a_budget_is_drawn_against_the_even_one() -> None:
    clock = np.linspace(0, 1, 65)
    profile = cell_contents.Profile("f", clock, np.full(65, 2.0))
    drawn = sparklines.budget('<"rf">', profile)
    assert drawn is not None
    assert 'aria-label="Training budget of &lt;&#34;rf&#34;&gt;' in drawn.svg
    even, own = (
        [float(p.split(",")[1]) for p in points.split()]
        for points in re.findall(r'points="([^"]*)"', drawn.svg)
    )
    top = float(drawn.top)
    inside = sparklines.HEIGHT - 2 * sparklines.MARGIN
    assert even == [pytest.approx(sparklines.HEIGHT - sparklines.MARGIN - inside / top, abs=0.1)] * 2
    assert own == [pytest.approx(sparklines.HEIGHT - sparklines.MARGIN - inside * 2 / top, abs=0.1)] * len(
        own
    )
    assert sparklines.budget("rf", cell_contents.Profile("f", clock, np.full(65, np.nan))) is None


def test_losses_are_those_of_the_evaluated_checkpoint(tmp_path: Path) -> None:
    found = run.read(folder(tmp_path, seeds=2))
    frame = cell_contents.curves(found)
    early = sparklines.losses(found, found.frame.assign(best_step=4000))
    assert early is not None
    assert early.by_formulation["rf"][3] == pytest.approx(
        frame[(frame["formulation"] == "rf") & (frame["step"] == 4000)]["level_3"].mean()
    )
    first = sparklines.losses(found, found.frame[found.frame["seed"] == 0])
    assert first is not None
    assert first.by_formulation["rf"][3] == pytest.approx(
        frame[(frame["formulation"] == "rf") & (frame["seed"] == 0) & (frame["step"] == 20000)][
            "level_3"
        ].item()
    )
    losses = sparklines.losses(found, found.frame)
    assert losses is not None
    homes = [found.path / "cells" / cell.id for _, cell in found.cells() if cell.formulation == "rf"]
    last = [json.loads((home / "metrics.jsonl").read_text().splitlines()[-1])["val_common"] for home in homes]
    assert losses.by_formulation["rf"] == pytest.approx(np.mean(last, axis=0))
    drawn = sparklines.levels("eps/linear", "rf", losses)
    assert drawn is not None
    assert drawn.svg.count("<polyline") == 2
    alone = sparklines.levels("rf", "rf", losses)
    assert alone is not None
    assert alone.svg.count("<polyline") == 1
    assert "dashed: the leader" in drawn.caption
    assert "dashed" not in alone.caption
    assert sparklines.levels("unknown", "rf", losses) is None


def test_a_loss_beyond_all_others_is_cut_at_the_edge(tmp_path: Path) -> None:
    losses = sparklines.Losses({"rf": np.array([0.1] * 7 + [np.inf])}, 0.1, 0.5)
    drawn = sparklines.levels("rf", "rf", losses)
    assert drawn is not None
    ys = [float(p.split(",")[1]) for p in re.findall(r'points="([^"]*)"', drawn.svg)[0].split()]
    assert ys == [sparklines.HEIGHT - sparklines.MARGIN] * 7 + [sparklines.MARGIN]


STORY = """Traceback (most recent call last):
  File "/home/me/flowbench/bench/pack.py", line 10, in train
    step()
    ~~~~^^
  File "/home/me/flowbench/bench/train.py", line 3, in step
    raise MemoryError("out of memory")
MemoryError: out of memory
"""


def test_failures_are_grouped_by_cause(tmp_path: Path) -> None:
    fate = {("rf", 0): "failed", ("eps/linear", 0): "failed", ("v/cos", 0): "failed", ("rf", 1): "diverged"}
    out = folder(tmp_path, seeds=2, status=lambda f, d, s: fate.get((f, s)))
    found = run.read(out)
    homes = {cell.formulation: out / "cells" / cell.id for _, cell in found.cells("failed")}
    for name, cause in (("rf", "aa"), ("eps/linear", "aa"), ("v/cos", "bb")):
        kept = json.loads((homes[name] / "status.json").read_text())
        (homes[name] / "status.json").write_text(
            json.dumps(kept | {"error": {"kind": "E", "message": f"E:\n in {cause}", "cause": cause}})
        )
    (homes["rf"] / "error.txt").write_text(STORY)
    made = failures.failures(run.read(out))
    assert [(c.error, sorted(cell.formulation for cell in c.cells)) for c in made.causes] == [
        ("E: in aa", ["eps/linear", "rf"]),
        ("E: in bb", ["v/cos"]),
    ]
    assert made.causes[0].story[-1] == "MemoryError: out of memory"
    assert not any("~" in line for line in made.causes[0].story)
    assert made.causes[1].story == ()
    assert made.diverged == (failures.Cell("rf", "synthetic", 1, 7),)
    assert [error for error, _ in made.of("rf")] == ["E: in aa", "diverged at step 7"]


def test_a_run_without_trouble_has_no_failures(tmp_path: Path) -> None:
    assert not failures.failures(run.read(folder(tmp_path)))


def test_device_time_is_shared_by_a_pack(tmp_path: Path) -> None:
    out = folder(tmp_path, seeds=1)
    for file in sorted(out.glob("cells/*/status.json")):
        kept = json.loads(file.read_text())
        kept["training"] |= {"seconds": 600.0, "pack": 3, "torch": "2.9", "code": "abc"}
        file.write_text(json.dumps(kept))
    facts = dict(page_provenance.provenance(run.read(out), {}).facts)
    assert facts["Device time"] == ("training 10.0 min", "measuring 3.0 min")  # 3 x 600 / 3; 3 x 60
    kept["training"]["replicas"] = 4  # of one cell
    file.write_text(json.dumps(kept))
    more = dict(page_provenance.provenance(run.read(out), {}).facts)
    assert more["Device time"] == ("training 20.0 min", "measuring 3.0 min")
    assert facts["Code"] == ("abc", "synthetic")  # trained, measured
    assert facts["Command"] == ("python -m bench.grid --synthetic",)
    assert facts["Cells"] == ("3 done",)
    assert facts["Finished"] == ("2026-01-01 00:00:00 UTC",)


def test_several_versions_of_the_code_are_a_warning(tmp_path: Path) -> None:
    out = folder(tmp_path, seeds=1)
    file = next(iter(out.glob("cells/*/status.json")))
    kept = json.loads(file.read_text())
    kept["training"]["code"] = "other"
    file.write_text(json.dumps(kept))
    made = page_provenance.provenance(run.read(out), {})
    assert made.warnings == ("The cells were made by 2 versions of the code: other, synthetic.",)


def test_the_commit_is_that_of_the_code_that_trained(tmp_path: Path) -> None:
    out = folder(tmp_path, seeds=1)
    for name, kept in (
        ("a", {"code": "synthetic", "commit": "1234abc"}),
        ("b", {"code": "other", "commit": "9999999"}),
        ("c", {"code": "synthetic", "commit": None}),
    ):
        (out / "submissions" / name).mkdir(parents=True)
        (out / "submissions" / name / "submission.json").write_text(json.dumps(kept))
    assert dict(page_provenance.provenance(run.read(out), {}).facts)["Commit"] == ("1234abc",)


def test_recipes_are_shown_in_full(tmp_path: Path) -> None:
    made = page_provenance.provenance(run.read(folder(tmp_path)), {})
    (recipe,) = made.recipes
    assert dict(recipe.fields)["training.steps"] == "20000"
    assert dict(recipe.fields)["evaluation.extractor"] == '"synthetic"'
    assert recipe.size.startswith(f"{147_456 * 64:,} parameters, ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(42, "42 s"), (192, "3.2 min"), (18_360, "5.1 h"), (1_036_800, "12.0 days")]
)
def test_durations(seconds: float, text: str) -> None:
    assert page_provenance.duration(seconds) == text


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((), ""),
        (("2026-01-02T01:00Z", "2026-01-02T23:00Z"), "2 January 2026"),
        (("2026-01-02T01:00Z", "2026-01-04T01:00Z"), "2 to 4 January 2026"),
        (("2026-01-30T01:00Z", "2026-02-01T01:00Z"), "30 January 2026 to 1 February 2026"),
    ],
)
def test_days(ends: tuple[str, ...], text: str) -> None:
    assert page_provenance.days(pd.Series(pd.to_datetime(list(ends), utc=True))) == text
