"""Reading results: every source, and one sentence with exit code 2 for every bad one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.rank import main
from analysis.runs.run import read
from analysis.runs.schema import check, comparable, difference, recipe
from flowbench._core.errors import UserError

HEADER = "formulation,dataset,weights,steps,cfg,clip,fid\n"
ROWS = "rf,shapes,ema,5,5.0,25.0,10.0\nv/cos,shapes,ema,5,5.0,24.0,12.0\n"


def frame(**columns: object) -> pd.DataFrame:
    base = {"formulation": ["rf", "v/cos"], "dataset": "shapes", "weights": "ema", "steps": 5, "cfg": 5.0}
    return pd.DataFrame({**base, "clip": [25.0, 24.0], "fid": [10.0, 12.0], **columns})


def test_csv_parquet_and_run_folder_read_alike(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + ROWS)
    (tmp_path / "bom.csv").write_text("\ufeff" + HEADER.replace(",", ", ") + "\n" + ROWS)
    frame().to_parquet(tmp_path / "results.parquet")
    (tmp_path / "real-scores.json").write_text(json.dumps({"shapes": {"clip_real": 31.0, "n": 256}}))
    first = read(tmp_path / "a.csv").frame
    assert first["seed"].tolist() == [0, 0]
    assert first["status"].tolist() == ["done", "done"]
    assert first["steps"].dtype == np.int64
    for path in (tmp_path / "bom.csv", tmp_path / "results.parquet", tmp_path):
        other = read(path).frame
        pd.testing.assert_frame_equal(other, first, check_dtype=False)
    assert read(tmp_path).real_scores["shapes"]["clip_real"] == 31.0


def test_dropped_networks_are_a_column_of_the_setting() -> None:
    """None are dropped where a table does not say."""
    assert set(check(frame()).frame["drop"]) == {"none"}
    both = pd.concat([frame(), frame(drop="t5+clip_g")], ignore_index=True)
    assert check(both).frame["drop"].tolist() == ["none", "none", "clip_g+t5", "clip_g+t5"]
    with pytest.raises(UserError, match="the table: drop=t5\\+: name networks of the text encoder"):
        check(frame(drop="t5+"))


def test_empty_fields_are_missing_values_only_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "rf,shapes,ema,5,5.0,,nan\nNA,shapes,ema,5,5.0,1,inf\n")
    table = read(tmp_path / "a.csv").frame
    assert table["clip"].isna().tolist() == [True, False]
    assert table["formulation"].tolist() == ["rf", "NA"]
    assert np.isinf(table["fid"].iloc[1])


BAD_CSV = {
    "": "is empty",
    HEADER: "has no rows",
    "a,b\n1,2\n": "lacks the columns formulation, dataset, weights, steps, cfg, clip, fid; it has a, b",
    HEADER.replace(",fid", "") + "rf,shapes,ema,5,5,1\n": "lacks the column fid; it has formulation",
    HEADER + ROWS + "rf,digits,ema": "line 4: 3 fields where the header has 7; is the file cut off?",
    HEADER.replace("fid", "clip") + ROWS: "has the column 'clip' twice",
    HEADER + "rf,shapes,ema,5,5.0,high,10\n": "row 1: clip is 'high', not a number",
    HEADER + ROWS + "rf,shapes,ema,5,,1,2\n": "row 3: cfg is '', not a number",
    HEADER + "rf,shapes,ema,2.5,5,1,2\n": "row 1: steps is '2.5', not a whole number from 1",
    HEADER + "rf,shapes,ema,0,5,1,2\n": "row 1: steps is '0', not a whole number from 1",
    HEADER + "rf,shapes,,5,5,1,2\n": "row 1: weights is '', not a name",
    HEADER + ROWS * 2: "has 4 rows that repeat one another, first: formulation rf, dataset shapes, seed 0",
    HEADER + 'rf,"shapes\n': "cannot be read as CSV",
}


@pytest.mark.parametrize(("text", "sentence"), BAD_CSV.items(), ids=range(len(BAD_CSV)))
def test_bad_csv(text: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert str(path) in err
    assert sentence in err


def test_bad_paths_and_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*argv: object) -> str:
        assert main([str(a) for a in argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        return err

    assert "there is no" in said(tmp_path / "nowhere")
    assert "holds no results: run `python -m bench.grid --out" in said(tmp_path)
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    assert "is a workbook: save its sheet as CSV (UTF-8)" in said(tmp_path / "table.xlsx")
    (tmp_path / "table.txt").write_text(HEADER + ROWS)
    assert "choose a run folder, a .parquet or a .csv file" in said(tmp_path / "table.txt")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\xff\xfe\n")
    assert "cannot be read as CSV" in said(tmp_path / "latin.csv")

    good = tmp_path / "results.parquet"
    frame().to_parquet(good)
    whole = good.read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 1):
        good.write_bytes(whole[:cut])
        assert "cannot be read as parquet: it is cut off, damaged or another format" in said(tmp_path)
    good.write_bytes(whole)
    for text, sentence in (
        ("{", "is not valid JSON"),
        ("[]", "is no table of scores by dataset"),
        ('{"shapes": {"clip_real": "x"}}', "clip_real of 'shapes' is 'x', not a number"),
    ):
        (tmp_path / "real-scores.json").write_text(text)
        assert sentence in said(tmp_path)


def test_bad_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(HEADER + ROWS)
    for argv, sentence in (
        (["--format", "markdwn"], "unknown format 'markdwn'; known: 'table', 'md'"),
        (["--format", "latx"], "did you mean 'latex'"),
        (["--by", "data"], "cannot group by 'data'; did you mean 'dataset'"),
        (["--top", "0"], "--top is 0, not a whole number from 1"),
        (["--top", "x"], "'x' is not a whole number"),
        (["--fromat", "md"], "unknown option '--fromat': did you mean '--format'"),
    ):
        assert main([str(tmp_path / "a.csv"), *argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert sentence in err


def test_recipes_are_never_mixed() -> None:
    a, b = "clip[tinyclip-1a2b3c4d,native32,n=256]", "clip[tinyclip-1a2b3c4d,native32,n=1000]"
    with pytest.raises(
        UserError, match=r"mixes 2 recipes of clip on 'shapes'.*: n 256 against 1000; rank them apart"
    ):
        comparable(check(frame(clip_name=[a, b])))
    c = "fid[tinyclip-1a2b3c4d,native32,ref=shapes-9f8e7d6c-2000,n=256]"
    with pytest.raises(UserError, match="extractor tinyclip-1a2b3c4d against clip-00000000"):
        comparable(check(frame(fid_name=[c, c.replace("tinyclip-1a2b3c4d", "clip-00000000")])))
    comparable(check(frame(clip_name=[a, None])))  # a row that was never measured names no recipe
    comparable(check(frame(clip_name=[a, b], dataset=["shapes", "digits"])))


def test_parts_of_a_recipe() -> None:
    assert recipe("fid[tinyclip-1a,native32,ref=shapes-9f-2000,n=256]") == {
        "metric": "fid",
        "extractor": "tinyclip-1a",
        "preprocessing": "native32",
        "ref": "shapes-9f-2000",
        "n": "256",
    }
    assert recipe("CLIP-L") == {"name": "CLIP-L"}
    assert difference("clip[a,p,n=1]", "clip[a,q,n=1]") == "preprocessing p against q"


def test_equal_recipes_are_equal_however_they_are_written() -> None:
    found = check(frame(recipe=['{"b":2, "a":1}', '{"a": 1, "b": 2}']))
    assert set(found.frame["recipe"]) == {'{"a":1,"b":2}'}
    comparable(found)
    assert check(frame(recipe=[None, '{"a": 1}'])).frame["recipe"].tolist() == [None, '{"a":1}']


@pytest.mark.parametrize("recipe", ["depth 4", "[1]", "3", "{"])
def test_recipes_are_objects(recipe: str) -> None:
    with pytest.raises(UserError, match=r"has the recipe .*, which is no JSON object"):
        check(frame(recipe=['{"a":1}', recipe]))


def test_a_name_is_one_line() -> None:
    with pytest.raises(UserError, match=r"row 2: formulation is 'a\\nb', not a name on one line"):
        check(frame(formulation=["rf", "a\nb"]))


def test_unknown_status() -> None:
    with pytest.raises(UserError, match="unknown status 'divergd'; did you mean 'diverged'"):
        check(frame(status=["done", "divergd"]))


def test_command_needs_no_torch_and_of_bench_only_what_it_shares(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + ROWS)
    code = (
        "import sys; from analysis.rank import main; main([sys.argv[1]]);"
        "print(sorted({'torch', 'bench.config.experiment', 'formulations', 'matplotlib'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.csv")],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    assert run.stdout.splitlines()[-1] == "[]"
    light = "import sys, analysis.rank; print(sorted({'pandas', 'rich', 'scipy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout.strip() == "[]"


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + ROWS)
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        read(tmp_path / "a.csv")
