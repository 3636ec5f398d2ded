"""What a reader sees: golden text of every format, scores of real images, marks and notes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.rank import main
from analysis.ranking.notes import notes
from analysis.ranking.render import ranking_table
from analysis.ranking.result import RankingResult
from analysis.tables import output
from analysis.tables.layout import Screen
from analysis.tables.output import FORMATS
from flowbench._core.errors import UserError

from ..rankings import rank

CLIP = "clip[tinyclip-1a2b3c4d,native32,n=256]"
FID = "fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]"
REAL_SCORES = {
    "shapes": {"clip_real": 33.1, "clip_shuffled": 12.0, "fid_real": 0.5, "n": 256, "clip_name": CLIP}
}


def render(ranking: RankingResult, format: str = "table", screen: Screen | None = None) -> str:
    return output.write([ranking_table(ranking)], format, screen)


def results() -> pd.DataFrame:
    """Three formulations at 5 and 50 steps, one of them failed at 5 steps."""
    rows = [
        ("rf", 50, 30.0, 4.0, 0.40, "done"),
        ("rf", 5, 28.0, 5.0, 0.40, "done"),
        ("v_a", 50, 29.0, 6.0, 0.41, "done"),
        ("v_a", 5, 28.5, 7.0, 0.41, "done"),
        ("edm", 50, 31.0, 9.0, 0.45, "done"),
        ("edm", 5, None, None, None, "failed"),
    ]
    frame = pd.DataFrame(rows, columns=["formulation", "steps", "clip", "fid", "val_loss", "status"])
    return frame.assign(dataset="shapes", weights="ema", cfg=5.0, clip_name=CLIP, fid_name=FID)


@pytest.fixture
def ranking() -> RankingResult:
    return rank(results(), real_scores=REAL_SCORES)


def test_real_images_of_one_dataset_by_several_networks_stand_once() -> None:
    names = ("shapes with dit", "shapes with mmdit", "shapes with prx")
    frame = pd.concat([results().assign(dataset=name) for name in names])
    shown = render(rank(frame, real_scores=dict.fromkeys(names, REAL_SCORES["shapes"])))
    assert [line.split("  ")[0] for line in shown.splitlines() if "real images" in line] == ["real images"]


NOTES = """\
2 settings: shapes; ema weights; steps:cfg 5:5, 50:5; 1 seed; 256 images per setting
* what diverged, failed or is missing ranks last in its settings; means are over the rest
CLIP: clip[tinyclip-1a2b3c4d,native32,n=256]
FID: fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]
resolution: one seed: the noise of seeds is unknown, so that no difference can be compared with it"""


TABLE = """\
formulation        rank all  5 steps  50 steps  val loss    CLIP     FID  by CLIP  by FID  by val loss      lost
-----------------  --------  -------  --------  --------  ------  ------  -------  ------  -----------  --------
rf                     1.00     1.00      1.00    0.4000  29.00   4.500      2.00    1.00         1.00         -
edm *                  1.50     2.00      1.00    0.4500  31.00*  9.000*     2.00    3.00         3.00  1 failed
v_a                    1.50     1.00      2.00    0.4100  28.75   6.500      2.00    2.00         2.00         -
-----------------  --------  -------  --------  --------  ------  ------  -------  ------  -----------  --------
real images                                               33.10   0.500
shuffled captions                                         12.00

"""


def test_plain_table(ranking: RankingResult) -> None:
    assert render(ranking) == TABLE + NOTES


def test_markdown(ranking: RankingResult) -> None:
    text = render(ranking, "md")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[:7]]
    assert rows[0][:4] == ["formulation", "rank all", "5 steps", "50 steps"]
    assert rows[1][:2] == [":" + "-" * 18, "-" * 9 + ":"]
    assert rows[2][:7] == ["rf", "1.00", "1.00", "1.00", "0.4000", "29.00", "4.500"]
    assert rows[3][:7] == [r"edm \*", "1.50", "2.00", "1.00", "0.4500", r"31.00\*", r"9.000\*"]
    assert rows[4][:3] == [r"v\_a", "1.50", "1.00"]
    assert rows[5] == ["real images", "", "", "", "", "33.10", "0.500", "", "", "", ""]
    assert text.splitlines()[7:] == ["", *(f"- `{line}`" for line in NOTES.splitlines())]


LATEX = r"""\begin{tabular}{lrrrrrrrrrr}
\toprule
formulation & rank all & 5 steps & 50 steps & val loss & CLIP & FID & by CLIP & by FID & by val loss & lost \\
\midrule
rf & 1.00 & 1.00 & 1.00 & 0.4000 & 29.00 & 4.500 & 2.00 & 1.00 & 1.00 & - \\
edm {*} & 1.50 & 2.00 & 1.00 & 0.4500 & 31.00$^{*}$ & 9.000$^{*}$ & 2.00 & 3.00 & 3.00 & 1 failed \\
v\_a & 1.50 & 1.00 & 2.00 & 0.4100 & 28.75 & 6.500 & 2.00 & 2.00 & 2.00 & - \\
real images &  &  &  &  & 33.10 & 0.500 &  &  &  &  \\
shuffled captions &  &  &  &  & 12.00 &  &  &  &  &  \\
\bottomrule
\end{tabular}
\par{\footnotesize 2 settings: shapes;"""


def test_latex(ranking: RankingResult) -> None:
    text = render(ranking, "latex")
    assert text.startswith(LATEX)
    assert text.count(r"\par{\footnotesize ") == 5


def test_csv_is_the_frame_at_full_precision(ranking: RankingResult) -> None:
    text = render(ranking, "csv")
    assert text.splitlines()[:2] == [
        "formulation,rank_all,position,rank_5,rank_50,rank_clip,rank_fid,rank_val_loss,val_loss,val_loss_lacking,clip,"
        "clip_lacking,fid,fid_lacking,settings,diverged,failed,missing,rank_tied,clip_tied,fid_tied,val_loss_tied,position_low,"
        "position_high",
        "rf,1.0,1,1.0,1.0,2.0,1.0,1.0,0.4,0,29.0,0,4.5,0,2,0,0,0,,,,,,",
    ]
    frame = ranking.frame()
    plain = frame.assign(**{c: frame[c].astype("float64") for c in frame if c.endswith("_tied")})
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(text)), plain, check_dtype=False)


def test_json_holds_frame_and_notes_and_no_nan(ranking: RankingResult) -> None:
    ranking.value("rank_50").iloc[0] = np.nan
    whole = json.loads(render(ranking, "json"), parse_constant=pytest.fail)
    assert whole["ranking"][0]["formulation"] == "rf"
    assert whole["ranking"][0]["rank_50"] is None
    assert whole["ranking"][1]["failed"] == 1
    assert whole["notes"]["recipes"]["fid"] == {"shapes": FID}
    assert whole["notes"]["real_scores"] == REAL_SCORES
    assert whole["notes"]["seeds"] == 1


def test_long_and_odd_names_stay_whole() -> None:
    frame = results()
    names = {"rf": "rf/" + "x" * 300, "v_a": "a[b]|c&d%e", "edm": r"back\slash_#{}~^$"}
    ranking = rank(frame.assign(formulation=frame["formulation"].map(names)))
    assert names["rf"] in render(ranking)
    assert names["v_a"] in render(ranking)
    assert r"a\[b\]\|c&d%e" in render(ranking, "md")
    assert r"a{[}b{]}\textbar{}c\&d\%e" in render(ranking, "latex")
    assert r"back\textbackslash{}slash\_\#\{\}\textasciitilde{}\textasciicircum{}\$" in render(
        ranking, "latex"
    )


def test_real_scores_of_several_datasets_and_of_another_recipe() -> None:
    frame = pd.concat(
        [results(), results().assign(dataset="digits", fid_name=FID.replace("shapes", "digits"))]
    )
    given = {"shapes": {"clip_real": 30.0, "fid_real": 1.0}, "digits": {"clip_real": 20.0, "fid_real": 2.0}}
    text = render(rank(frame, real_scores=given))
    cells = {
        line[:20].strip(): line[20:].split() for line in text.splitlines() if line.startswith("real images")
    }
    assert cells == {
        "real images": ["25.00", "1.500"],
        "real images (shapes)": ["30.00", "1.000"],
        "real images (digits)": ["20.00", "2.000"],
    }
    assert "FID: " + FID + " (shapes)" in text
    other = {"shapes": {"clip_real": 30.0, "clip_name": CLIP.replace("256", "64")}}
    text = render(rank(results(), real_scores=other))
    assert "the scores of real images of shapes were measured by another recipe and are left out" in text
    assert "\nreal images" not in text
    assert "real images" not in render(rank(results(), real_scores={"digits": {"clip_real": 3.0}}))


def test_several_seeds_print_their_resolution() -> None:
    frame = results()[lambda f: f["formulation"] != "edm"]
    by = frame["formulation"].map({"rf": 0.01, "v_a": 0.03})
    other = frame.assign(seed=1, clip=frame["clip"] + 100 * by, fid=frame["fid"] * np.exp(by))
    text = render(rank(pd.concat([frame.assign(seed=0), other])))
    # Over the seeds rf moves by 1 and the other by 3 on average over the settings: the residuals are +-0.5, so the
    # variance is 1 with one degree of freedom, and of two formulations the gap is the one-sided 95 % point of t, 6.31.
    # FID: a hundredth of that, in logarithms. CLIP 29.5 against 30.25: 0.75 apart.
    assert "1 seed;" not in text
    assert "2 seeds;" in text
    # The correlation's theta is 1.5: of F(1, 1) the 97.5 % point is 647.8, so it is from (4 / 647.8 - 1) / 2 to 1295.
    expected = (
        "resolution, CLIP: sigma 1 over 2 seeds (1 df), correlation 0.60 [-0.99, 1.00]; separable gap 6.3; "
    )
    assert f"{expected}runner-up 0.75 behind: " in text
    same = "correlation 0.60 [-0.99, 1.00]; separable gap 6.5 %;"
    assert f"resolution, FID: sigma 1 % over 2 seeds (1 df), {same}" in text


def test_one_metric_alone_is_said() -> None:
    text = render(rank(results().assign(clip=None, clip_name=None).replace("failed", "diverged")))
    assert text.splitlines()[4].endswith("  1 diverged")
    assert "the table has values of FID only: ranked by it alone" in text
    assert "  CLIP" not in text


def test_columns_of_a_group() -> None:
    header = render(rank(results(), by="steps")).splitlines()[0]
    assert header.split("  ")[-1]
    assert "steps=5  steps=50" in header


def test_unknown_format(ranking: RankingResult) -> None:
    with pytest.raises(UserError, match="unknown format 'jsn'; did you mean 'json'"):
        render(ranking, "jsn")


@pytest.mark.parametrize("format", FORMATS)
def test_command_prints_what_the_functions_give(format: str, tmp_path: Path, capsys) -> None:
    results().to_parquet(tmp_path / "results.parquet")
    (tmp_path / "real-scores.json").write_text(json.dumps(REAL_SCORES))
    assert main([str(tmp_path), "--format", format]) == 0
    out, err = capsys.readouterr()
    assert out == render(rank(results(), real_scores=REAL_SCORES), format) + "\n"
    assert err == ""


def test_command_shows_the_best_and_groups(tmp_path: Path, capsys) -> None:
    results().to_csv(tmp_path / "a.csv", index=False)
    assert main([str(tmp_path / "a.csv"), "--top", "1", "--by", "weights", "--format", "csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "rank[weights=ema]" in lines[0]
    assert lines[1].startswith("rf,")


@pytest.mark.parametrize(
    ("n", "references", "dimensions", "says"),
    [
        (256, 2000, 64, None),
        (256, 2000, None, None),
        (256, 2, None, "FID of shapes is from 2 references only: below 100 of each"),
        (99, 99, 64, "FID of shapes is from 99 images and 99 references only: below 100 of each"),
        (256, 2000, 256, "FID of shapes is from 256 images only: below 257 of each"),
        (2048, 2048, 2048, "FID of shapes is from 2048 images and 2048 references only: below 2049 of each"),
    ],
)
def test_a_distance_from_few_images_is_remarked(
    n: int, references: int, dimensions: int | None, says: str | None
) -> None:
    name = f"fid[x-1a,native32,ref=shapes-9f-{references},n={n}]"
    known = {"dimensions": dimensions} if dimensions else {}
    ranking = rank(results().assign(fid_name=name), real_scores={"shapes": {"fid_name": name, **known}})
    found = [line for line in notes(ranking) if line.startswith("FID of")]
    assert [line.partition(" its value")[0] for line in found] == ([says] if says else [])


def test_cut_captions_are_reported() -> None:
    ranking = rank(results(), real_scores={"shapes": {"captions_cut": 12}})
    assert "12 captions of shapes cut: longer than the text encoder reads" in notes(ranking)


def test_a_training_worse_than_none_is_named() -> None:
    frame = results()
    untrained = {"rf": 0.39, "v_a": 2.0, "edm": 0.000045}
    ranking = rank(frame.assign(untrained_loss=frame["formulation"].map(untrained)))
    assert [line for line in notes(ranking) if "not trained" in line] == [
        "not trained: edm on shapes, seed 0: its validation loss is 10,000 times that of an untrained network"
    ], "a few per cent above it may be noise"
    many = frame.assign(untrained_loss=0.2)
    seeds = pd.concat([many.assign(seed=seed) for seed in range(2)])
    found = [line for line in notes(rank(seeds)) if line.startswith("not trained")]
    assert (len(found), found[-1]) == (5, "not trained: 2 more trainings of such a loss")
    assert not [line for line in notes(rank(frame)) if "not trained" in line], (
        "tables of others do not have it"
    )


def test_one_formulation_alone_has_no_resolution() -> None:
    common = {"formulation": "rf", "dataset": "d", "weights": "ema", "steps": 5, "cfg": 5.0}
    alone = pd.DataFrame([{**common, "seed": s, "clip": 30.0 + s, "fid": 9.0 + s} for s in (0, 1)])
    said = "resolution: unknown, it needs every entry of two formulations, and there is one"
    assert said in ranking_table(rank(alone)).notes
