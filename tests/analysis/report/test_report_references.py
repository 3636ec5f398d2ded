"""Sentences about values that real images, or images of squares only, put into question."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.ranking import ranking
from analysis.report import findings
from analysis.report.references import against_references
from analysis.runs import run, synthetic


def sentences(out: Path, **scores: float) -> list[str]:
    """Of two formulations with CLIP scores of about 40 and 34, and FIDs of about 25 and 33."""
    truth = synthetic.Truth(("rf", "v/cos"), (0.0, -2.0), noise=0.01)
    synthetic.write(out, truth, samples=8, weights=("ema",), settings=((50, 5.0),))
    (out / "real-scores.json").write_text(json.dumps({"synthetic": scores}))
    return list(against_references(ranking.rank(run.read(out))))


def test_values_between_those_of_the_references_are_not_in_question(tmp_path: Path) -> None:
    assert sentences(tmp_path, clip_real=60.0, clip_squares=20.0, fid_real=2.0, fid_squares=80.0) == []


def test_better_than_real_images(tmp_path: Path) -> None:
    clip, fid = sentences(tmp_path, clip_real=10.0, fid_real=30.0)
    assert clip.startswith("In CLIP score 2 of 2 formulations are better than real images (10): ")
    assert fid.startswith("In FID 1 of 2 formulations is better than real images (30): ")


def test_all_behind_squares(tmp_path: Path) -> None:
    (found,) = sentences(tmp_path, clip_squares=90.0, fid_squares=30.0)
    assert found.startswith("In CLIP score all formulations are behind images that show squares only (90): ")


def test_they_are_among_the_doubts_of_a_verdict(tmp_path: Path) -> None:
    (doubt,) = sentences(tmp_path, fid_real=30.0)
    found = ranking.rank(run.read(tmp_path))
    assert doubt in findings.verdict(found, findings.pairs(found)).doubts
