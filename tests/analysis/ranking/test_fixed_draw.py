"""What the one draw of captions leaves undecided by any number of seeds: samples whose law is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from analysis.ranking import ranking, score_matrix, verdict
from analysis.ranking.fixed_draw import DRAWS, FixedDraw
from analysis.ranking.notes import notes
from analysis.ranking.pending import settled
from analysis.runs import run, synthetic
from analysis.runs.run import Run

NAMES, SAMPLES = ("rf", "eps/linear", "v/cos"), 400
WIDTH = 3 / np.sqrt(2 * DRAWS)
"""Three standard errors of a deviation that is estimated from the draws."""
Values = Callable[[str, int, str], np.ndarray]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = synthetic.Truth(NAMES, (0.0, -0.05, -3.0), noise=0.4)
    options = {"seeds": 4, "samples": SAMPLES, "weights": ("ema",), "settings": ((5, 5.0), (50, 5.0))}
    return synthetic.write(tmp_path_factory.mktemp("fixed"), model, **options)


def sampled(folder: Path, **metrics: Values) -> Run:
    """The run with values of samples by formulation, seed and setting, whose means are not changed."""
    cells = {
        c["cell"]: (c["formulation"], c["seed"])
        for c in json.loads((folder / "grid.json").read_text())["cells"]
    }
    for file in folder.glob("cells/*/*/per_sample.safetensors"):
        tensors = load_file(file)
        for key in tensors:
            setting, _, metric = key.partition("/")
            if metric in metrics:
                values = metrics[metric](*cells[file.parents[1].name], setting)
                tensors[key] = (values - values.mean()).astype(np.float32)
        save_file(tensors, file)
    return run.read(folder)


def fixed(of: Run) -> FixedDraw:
    return FixedDraw(of, score_matrix.make(settled(of.frame)[0], of.metrics))


def noise(*parts: object) -> np.ndarray:
    return np.random.default_rng([ord(c) for c in str(parts)]).normal(size=SAMPLES)


def test_what_seeds_share_remains(folder: Path) -> None:
    def clip(name: str, seed: int, setting: str) -> np.ndarray:
        return 9 * noise("all") + 2 * noise(name) + noise(name, seed)

    found = fixed(sampled(folder, clip=clip)).deviation("clip", False, "rf", "eps/linear")
    expected = 2 * (noise("rf") - noise("eps/linear")).std() / np.sqrt(SAMPLES)
    assert found == pytest.approx(expected, rel=1.5 * WIDTH)


def test_noise_that_seeds_do_not_share_leaves_little(folder: Path) -> None:
    made = fixed(sampled(folder, clip=lambda name, seed, setting: 6 * noise(name, seed, "own")))
    found = made.deviation("clip", False, "rf", "eps/linear")
    assert found is not None
    assert found < 0.5 * 6 * np.sqrt(2 / SAMPLES / 4)


def test_logarithms_are_relative_to_the_level(folder: Path) -> None:
    made = fixed(sampled(folder, fid=lambda name, seed, setting: 5 * noise(name)))
    level = dict(zip(made.table.names, made.table.means("fid"), strict=True))
    apart = noise("rf") / level["rf"] - noise("v/cos") / level["v/cos"]
    found = made.deviation("fid", True, "rf", "v/cos")
    assert found == pytest.approx(5 * apart.std() / np.sqrt(SAMPLES), rel=WIDTH)


def test_fronts_are_those_of_other_draws(folder: Path) -> None:
    """Two formulations whose order the draw decides in every setting and seed alike, and a third that is always last."""
    of = sampled(
        folder, clip=lambda *_: 0 * noise(), fid=lambda name, *_: 900 * noise(name) * (name != "v/cos")
    )
    made = fixed(of)
    deviation = made.deviation("rank", False, "rf", "eps/linear")
    assert deviation is not None
    assert deviation > 0.1
    assert made.deviation("val_loss", True, "rf", "eps/linear") is None
    quiet = fixed(sampled(folder, clip=lambda *_: 0 * noise(), fid=lambda *_: 0 * noise()))
    assert quiet.deviation("rank", False, "rf", "eps/linear") == 0


def test_a_lead_within_the_draw_needs_samples_and_not_seeds(folder: Path) -> None:
    of = sampled(folder, clip=lambda name, *_: 900 * noise(name), fid=lambda name, *_: -900 * noise(name))
    ranked = ranking.rank(of)
    about = {r.response: r for r in ranked.facts.resolution}
    for response in ("rank", "clip", "fid"):
        assert about[response].beyond_seeds
        assert about[response].seeds_needed is None
    lines = [line for line in notes(ranked) if line.startswith("resolution")]
    assert sum(line.endswith("more samples, not more seeds, would separate it") for line in lines) == 3
    found = verdict.answer(ranked, of)
    assert found is not None
    assert (found.cause, found.forecast) == ("draw", None)
    assert "more `--samples`, not more seeds, may decide." in verdict.terminal(found)


def test_without_the_values_of_samples_it_is_said_that_seeds_may_not_do(folder: Path, tmp_path: Path) -> None:
    of = sampled(folder, clip=lambda name, *_: 900 * noise(name))
    of.frame.to_parquet(tmp_path / "bare.parquet")
    ranked = ranking.rank(run.read(tmp_path / "bare.parquet"))
    assert all(r.draw is None for r in ranked.facts.resolution)
    assert not any("more samples" in line for line in notes(ranked))
    unknown = [
        line for line in notes(ranked) if "how much the one draw of captions and noise matters" in line
    ]
    assert [line.partition(":")[0] for line in unknown] == ["CLIP and FID"]
    assert not set(unknown) & {*notes(ranking.rank(of))}, "its cells have it"
