"""An archive of several runs of one study says what the archive of one run of all its seeds says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import archive
from analysis.archives import bundle, joint_plan
from analysis.archives.merge import Part, check_inputs
from analysis.runs import run, sources, synthetic
from bench.runfolder import manifest
from flowbench._core.errors import UserError

NAMES = ("rf", "eps/linear", "v/cos", "rf/lognorm(0.00,1.00)")
SETTINGS = ((50, 5.0), (5, 5.0))


def status(name: str, dataset: str, seed: int) -> str | None:
    return "diverged" if (name, seed) == ("v/cos", 2) else None


def made(folder: Path, first: int, last: int, names: Sequence[str] = NAMES, **options: Any) -> Path:
    """A run folder of seeds ``first .. last``."""

    def within(name: str, dataset: str, seed: int) -> str | None:
        return status(name, dataset, seed) if seed >= first else "pending"

    kinds: dict[str, Any] = {"samples": 8, "pictures": 2, "weights": ("ema",), "settings": SETTINGS}
    kinds |= {"datasets": ("x", "y"), "status": within}
    synthetic.write(folder, synthetic.truth(names), seeds=last + 1, **kinds | options)
    change(folder / "grid.json", cells=lambda cells: [cell for cell in cells if cell["seed"] >= first])
    change(folder / "grid.json", grid=lambda grid: grid | {"seeds": last + 1 - first, "first_seed": first})
    (folder / "timings.json").write_text(json.dumps({"train": 60.0 * (last + 1 - first), "total": 50.0}))
    (folder / "real-scores.json").write_text(json.dumps({"x": {"fid_real": 1.5}, "y": {"fid_real": 2.5}}))
    return folder


def change(file: Path, **parts: Any) -> None:
    kept = json.loads(file.read_text())
    kept |= {name: of(kept.get(name)) for name, of in parts.items()}
    file.write_text(json.dumps(kept))


def archived(out: Path, *named: Path, figures: bool = False) -> list[str]:
    return list(archive.archive(named, out, figures))


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of seeds 0 and 1, 2 and 3, and 0 to 3."""
    root = tmp_path_factory.mktemp("runs")
    ends = {"early": (0, 1), "late": (2, 3), "all": (0, 3)}
    return {name: made(root / name, *seeds) for name, seeds in ends.items()}


@pytest.fixture(scope="module")
def whole(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the one run, with figures and page."""
    out = tmp_path_factory.mktemp("whole") / "study"
    archived(out, runs["all"], figures=True)
    return out


def without_timings(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """All but the seconds of the last command, which two commands have twice."""
    return {name: content for name, content in found.items() if name not in ("timings.json", "report.html")}


def test_two_runs_are_as_one(runs: dict[str, Path], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    archived(out, runs["early"], runs["late"], figures=True)
    assert without_timings(files(out)) == without_timings(files(whole))
    assert {"tables.md", "ranking.csv", "report.html", "figures/samples.png"} <= files(out).keys()
    assert json.loads((out / "timings.json").read_text()) == {"train": 240.0, "total": 100.0}


def test_an_archive_grows_without_its_cells(runs: dict[str, Path], whole: Path, tmp_path: Path) -> None:
    out, gone = tmp_path / "study", tmp_path / "gone"
    shutil.copytree(runs["early"], gone)
    archived(out, gone)
    shutil.rmtree(gone)
    archived(out, runs["late"], out)
    grown = files(out)
    assert [name for name in grown if grown[name] != files(whole)[name]] == ["timings.json"]
    for again in ((out,), (out, runs["late"]), (runs["early"], out)):
        archived(out, *again)
        assert files(out) == grown


def test_commands_and_code_of_all(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("early", "late"):
        shutil.copytree(runs[name], tmp_path / name)
        change(tmp_path / name / "grid.json", command=lambda _, name=name: ["--out", name])
        for file in tmp_path.glob(f"{name}/cells/*/status.json"):
            change(file, training=lambda kept, name=name: kept | {"code": name, "device": f"{name} machine"})
        (tmp_path / name / "submissions" / "1").mkdir(parents=True)
        about = {"code": name, "commit": f"of-{name}"}
        (tmp_path / name / "submissions" / "1" / "submission.json").write_text(json.dumps(about))
    out = tmp_path / "study"
    archived(out, tmp_path / "late", tmp_path / "early")
    kept = json.loads((out / sources.PROVENANCE).read_text())
    commands = ["python -m bench.grid --out early", "python -m bench.grid --out late"]
    assert kept["command"] == commands
    assert kept["commits"] == [["early", "of-early"], ["late", "of-late"]]
    assert {"early machine", "late machine"} <= set(kept["device"])
    assert kept["device_seconds"]["training"] == 32 * 60.0
    assert kept["seeds"] == ["0, 1, 2, 3"]
    archived(out, out)
    assert json.loads((out / sources.PROVENANCE).read_text()) == kept
    (plan,) = manifest.read(out)
    assert plan.command == ("--out", "early")
    assert (plan.grid["first_seed"], plan.grid["seeds"]) == (0, 4)


def test_a_cell_that_was_not_finished_is_taken_where_it_is(runs: dict[str, Path], tmp_path: Path) -> None:
    def halfway(name: str, dataset: str, seed: int) -> str | None:
        return "failed" if name == "rf" and seed else status(name, dataset, seed)

    out = tmp_path / "study"
    (line, *_) = archived(out, made(tmp_path / "run", 0, 1, status=halfway))
    assert "2 failed" in line
    (line, *_) = archived(out, out, runs["all"])
    assert "30 done, 2 diverged of 32 cells" in line


def test_rounded_values_stay_rounded(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, one = tmp_path / "grown", tmp_path / "one"
    monkeypatch.setattr(bundle, "MOST_SAMPLES", 0)
    assert archived(out, runs["early"])[1:] == [f"left out: {bundle.LEFT_OUT_SAMPLES}"]
    monkeypatch.setattr(bundle, "MOST_SAMPLES", 10**6)
    assert archived(out, out, runs["late"])[1:] == [f"left out: {bundle.LEFT_OUT_SAMPLES}"]
    assert not (out / sources.SAMPLES).exists()
    exact = tmp_path / "exact"
    archived(exact, runs["all"])
    monkeypatch.setattr(bundle, "MOST_SAMPLES", (exact / sources.SAMPLES).stat().st_size - 1)
    assert archived(one, runs["all"])[1:] == [f"left out: {bundle.ROUNDED_SAMPLES}"]
    shutil.copytree(one, tmp_path / "again")
    monkeypatch.setattr(bundle, "MOST_SAMPLES", 10**6)
    assert archived(tmp_path / "again", one)[1:] == [f"left out: {bundle.ROUNDED_SAMPLES}"]
    assert files(tmp_path / "again") == files(one)


def test_samples_are_left_out_if_so_asked(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "study"
    assert list(archive.archive([runs["early"]], out, False, False))[1:] == [
        f"left out: {bundle.LEFT_OUT_SAMPLES}"
    ]
    assert not (out / sources.SAMPLES).exists()
    both, later = tmp_path / "both", tmp_path / "later"
    list(archive.archive([runs["early"], runs["late"]], both, False, False))
    archived(later, runs["early"], runs["late"])
    list(archive.archive([later], later, False, False))
    for folder in (both, later):
        assert not (folder / sources.SAMPLES).exists()
        assert len(run.read(folder).frame) == len(run.read(runs["all"]).frame)


def test_a_scaling_study_grows(tmp_path: Path) -> None:
    kinds: dict[str, Any] = {"names": ("rf",), "datasets": ("x",), "sizes": ((1, 100), (2, 100), (2, 200))}
    early, late, both = (
        made(tmp_path / str(first + last), first, last, **kinds) for first, last in ((0, 0), (1, 1), (0, 1))
    )
    archived(tmp_path / "grown", early, late)
    assert archive.tables(run.read(tmp_path / "grown")) == archive.tables(run.read(both))


def test_a_confirmation_is_kept(runs: dict[str, Path], tmp_path: Path) -> None:
    named = {}
    for name, first in (("early", 1000), ("late", 1002)):
        named[name] = shutil.copytree(runs[name], tmp_path / name)
        kinds: dict[str, Any] = {"samples": 8, "weights": ("ema",), "settings": SETTINGS}
        truth = synthetic.truth(NAMES[:2])
        synthetic.write(named[name], truth, datasets=("x", "y"), seeds=1, first_seed=first, **kinds)
    archived(tmp_path / "study", named["early"], runs["late"])
    frame = run.read(tmp_path / "study").frame
    assert frame.groupby("phase")["cell"].nunique().to_dict() == {"rank": 32, "confirm": 4}
    with pytest.raises(UserError, match=r"each have a confirmation: name only one"):
        archived(tmp_path / "other", *named.values())


def test_what_cannot_be_one(runs: dict[str, Path], tmp_path: Path) -> None:
    early = runs["early"]

    def refused(match: str, other: Path) -> None:
        with pytest.raises(UserError, match=match) as caught:
            archived(tmp_path / "out", early, other)
        assert str(other) in str(caught.value)
        assert not (tmp_path / "out").exists()

    refused(r"model\.depth is 4 and 6", made(tmp_path / "depth", 2, 3, sizes=((6, 20_000),)))
    refused(r"only .*early' has the data set y: name", made(tmp_path / "data", 2, 3, datasets=("x", "z")))
    refused(r"only .*early' has the formulation rf/lognorm", made(tmp_path / "fewer", 2, 3, NAMES[:2]))
    refused(r"evaluation\.weights is \['ema'\] and \['raw'\]", made(tmp_path / "raw", 2, 3, weights=("raw",)))
    refused(r"evaluation\.samples is 8 and 9", made(tmp_path / "samples", 2, 3, samples=9))
    other = made(tmp_path / "real", 2, 3)
    (other / "real-scores.json").write_text(json.dumps({"x": {"fid_real": 1.6}}))
    refused(r"real images of x: fid_real is 1\.5 and 1\.6", other)
    other = made(tmp_path / "twice", 0, 1)
    file = min(other.glob(f"cells/*/{synthetic.EVALUATION}/result.json"))
    change(file, settings=lambda found: {name: v | {"kid": v["kid"] * 2} for name, v in found.items()})
    refused(r"different results of .* seed [01]: kid is .*; name only one", other)


@pytest.mark.parametrize(
    ("what", "early", "late"),
    [
        ("the data of [xy]", {"data": "a1"}, {"data": "b2"}),
        ("the text encoder", {"text_encoder": "a1"}, {"text_encoder": "b2"}),
        ("the network", {"architecture": 1}, {"architecture": 2}),
        ("rf", {"coefficients": [1.0, 2.0]}, {"coefficients": [1.0, 2.1]}),
    ],
)
def test_equal_names_of_different_things_are_no_one_study(
    runs: dict[str, Path], tmp_path: Path, what: str, early: Mapping[str, Any], late: Mapping[str, Any]
) -> None:
    def part(name: str, kept: Mapping[str, Any]) -> Part:
        folder = shutil.copytree(runs[name], tmp_path / name, dirs_exist_ok=True)
        for file in folder.glob("cells/*/config.json"):
            change(file, **{key: lambda _, value=value: value for key, value in kept.items()})
        return Part(name, run.read(folder))

    check_inputs([part("early", early), part("late", early)])
    with pytest.raises(UserError, match=f"'early' and 'late' cannot be one archive, as {what} differs"):
        check_inputs([part("early", early), part("late", late)])


def test_solvers_of_other_texts_are_no_one_study(runs: dict[str, Path], tmp_path: Path) -> None:
    """Also of archives, which have no plugins."""
    for name, text in (("early", "a1"), ("late", "b2")):
        folder = shutil.copytree(runs[name], tmp_path / "runs" / name)
        for file in folder.glob(f"cells/*/{synthetic.EVALUATION}/result.json"):
            change(file, solvers=lambda _, text=text: {"mine": text})
        archived(tmp_path / name, folder)
    with pytest.raises(UserError, match="cannot be one archive, as the solver mine differs"):
        archived(tmp_path / "out", tmp_path / "early", tmp_path / "late")


def test_seeds_without_a_gap(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"seeds 1 and 4, but none between.*--first-seed 2 --seeds 2$"):
        archived(tmp_path / "out", runs["early"], made(tmp_path / "later", 4, 4))


def test_a_race_stays_by_itself(runs: dict[str, Path], tmp_path: Path) -> None:
    race = {"decision": {"metric": "fid", "margin": 0.03}, "exits": []}
    racing = [shutil.copytree(runs[name], tmp_path / name) for name in ("early", "late")]
    for folder in racing:
        change(folder / "grid.json", race=lambda _: race)
    with pytest.raises(UserError, match="are races"):
        archived(tmp_path / "out", *racing)
    with pytest.raises(UserError, match="as race"):
        archived(tmp_path / "out", racing[0], runs["late"])
    archived(tmp_path / "out", racing[0])
    archived(tmp_path / "out", tmp_path / "out")


def test_rounding_of_another_placement_is_no_other_result(runs: dict[str, Path], tmp_path: Path) -> None:
    """The first one's numbers are kept; 2 % are another result."""
    for name, factor in (("rounded", 1 + 2e-4), ("other", 1.02)):
        folder = shutil.copytree(runs["early"], tmp_path / name)
        for file in folder.glob(f"cells/*/{synthetic.EVALUATION}/result.json"):
            change(
                file, settings=lambda all, by=factor: {k: v | {"fid": v["fid"] * by} for k, v in all.items()}
            )
    archived(tmp_path / "out", runs["early"], tmp_path / "rounded")
    kept, early = (run.read(folder).frame for folder in (tmp_path / "out", runs["early"]))
    assert kept["fid"].tolist() == early["fid"].tolist()
    with pytest.raises(UserError, match=r"hold different results of .*: fid is"):
        archived(tmp_path / "third", runs["early"], tmp_path / "other")


def test_rounding_of_another_machine_is_no_other_measurement() -> None:
    one, other = ({"x": {"fid_real": fid, "fid_name": "fid[...]"}} for fid in (1.5, 1.5000001))
    assert joint_plan.real_images({"a": one, "b": other}) == one
    with pytest.raises(UserError, match="fid_name"):
        joint_plan.real_images({"a": one, "b": {"x": {"fid_real": 1.5, "fid_name": "fid[others]"}}})


def test_a_metric_that_only_later_seeds_have_is_left_out(runs: dict[str, Path], tmp_path: Path) -> None:
    """As after an update; no seed is without a value that others have."""
    early = shutil.copytree(runs["early"], tmp_path / "early")
    change(early / "grid.json", metrics=lambda all: [metric for metric in all if metric["name"] != "kid"])
    for file in early.glob(f"cells/*/{synthetic.EVALUATION}/result.json"):
        change(file, names=lambda all: {name: of for name, of in all.items() if name != "kid_name"})
        change(
            file,
            settings=lambda all: {
                setting: {name: value for name, value in values.items() if not name.startswith("kid")}
                for setting, values in all.items()
            },
        )
    real = {"x": {"fid_real": 1.5, "kid_real": 0.1}, "y": {"fid_real": 2.5}}
    late = shutil.copytree(runs["late"], tmp_path / "late")
    change(late / "real-scores.json", **{name: lambda _, value=value: value for name, value in real.items()})
    out = tmp_path / "out"
    assert archived(out, early, late)[1:] == [f"left out: {bundle.LEFT_OUT_METRICS}"]
    kept, whole = run.read(out).frame, run.read(runs["all"]).frame
    assert not any(name.startswith("kid") for name in kept)
    assert {name for name in whole if name.startswith("kid")} == {"kid", "kid_name", "kid_stderr"}
    assert kept["fid"].equals(whole["fid"])
    before = files(out)
    for again in ((out,), (out, late)):
        assert archived(out, *again)[1:] == [f"left out: {bundle.LEFT_OUT_METRICS}"]
        assert {name: content for name, content in files(out).items() if name != "timings.json"} == {
            name: content for name, content in before.items() if name != "timings.json"
        }


def test_a_metric_with_another_direction_is_another(runs: dict[str, Path], tmp_path: Path) -> None:
    late = shutil.copytree(runs["late"], tmp_path / "late")
    change(
        late / "grid.json",
        metrics=lambda all: [metric | {"explained": "other words"} for metric in all],
    )
    archived(tmp_path / "out", runs["early"], late)
    change(late / "grid.json", metrics=lambda all: [m | {"higher_is_better": True} for m in all])
    with pytest.raises(UserError, match=r"the direction of .* is (False|None) and True"):
        archived(tmp_path / "out", runs["early"], late)


def test_no_picture_stands_for_another(tmp_path: Path) -> None:
    rows = [("cell", "5", row, [1, 1, 1], bytes([row])) for row in (0, 1, 3)]
    bundle.write_table(pd.DataFrame(rows, columns=list(sources.PICTURE)), tmp_path / sources.PICTURES)
    found = sources.Archive(tmp_path).pictures("cell", "any", "5", range(4))
    assert found is not None
    assert found.ravel().tolist() == [0, 1]


def test_finished_cells_are_not_lost(runs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "study"
    archived(out, runs["early"])
    before = files(out)
    with pytest.raises(
        UserError, match=r"on x, seed 0, which no source has: name it as a source, too, or del"
    ):
        archived(out, runs["late"])
    assert files(out) == before
    (out / "results.parquet").write_bytes(b"damaged")
    archived(out, runs["late"])


def test_the_command(
    runs: dict[str, Path], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    assert archive.main([str(runs["early"]), str(runs["late"]), str(out), "--no-figures"]) == 0
    assert "30 done, 2 diverged of 32 cells" in capsys.readouterr().out
    assert (out / archive.TABLES).read_bytes() == (whole / archive.TABLES).read_bytes()
    assert pd.read_parquet(out / "results.parquet").equals(pd.read_parquet(whole / "results.parquet"))
