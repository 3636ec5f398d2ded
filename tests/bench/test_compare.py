"""``bench.compare``: when a comparison stops, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flowbench
from analysis.comparisons import baseline
from analysis.comparisons.baseline import Comparison, Comparisons
from analysis.report import contents
from analysis.runs import run
from analysis.runs.schema import Results
from bench import compare, grid
from bench.driver import run_local, seed_by_seed
from bench.driver.verdicts import FILE
from bench.launch import snapshot
from bench.metrics.run_metrics import columns
from bench.planning.plan import Plan
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin

from .comparisons import LEARNS, PLUGIN, RF, TINY


def seeds(out: Path) -> dict[str, int]:
    """How many cells of each formulation are trained."""
    names = [json.loads(file.read_text())["cell"]["formulation"] for file in out.glob("cells/*/config.json")]
    return {name: names.count(name) for name in names}


@pytest.mark.usefixtures("here")
def test_a_copy_under_another_name_is_not_found_different(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    argv = [f"{plugin}:copy", "rf/lognorm(0,1)", *TINY, "--out", str(out)]
    assert compare.main([*argv, "--seeds", "2"]) == 0
    said = capsys.readouterr().out
    assert f"Undecided: my/copy and {RF} have the same FID in every seed (2 seeds" in said
    assert "4 seeds in all" in said
    assert seeds(out) == {"my/copy": 2, RF: 2}
    assert compare.main(argv) == 0, "continues where it was, and stops where it is decided"
    said = capsys.readouterr().out
    assert f"Decided: my/copy and {RF} have the same FID in every seed (4 seeds" in said
    assert seeds(out) == {"my/copy": 4, RF: 4}
    kept = json.loads((out / FILE).read_text())
    assert (kept["program"], kept["command"]) == ("bench.compare", argv)
    assert (kept["baseline"], kept["primary"], kept["settled"], kept["seeds"]) == (RF, "fid", True, 4)
    assert kept["verdict"] in said
    assert {row["verdict"] for row in kept["rows"] if row["metric"] in ("fid", "clip", "val_loss")} == {
        "equivalent"
    }
    assert {row["estimate"] for row in kept["rows"]} == {0}
    written = {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/result.json")}
    assert compare.main(argv) == 0
    assert {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/result.json")} == written
    report = contents.read(run.read(out))
    assert report.summary is not None
    assert (report.summary.state, report.against is not None) == ("decided", True)
    assert "have the same FID" in report.summary.sentence


@pytest.mark.long
@pytest.mark.usefixtures("here")
def test_a_real_difference_is_found_and_the_copy_is_not(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Small networks on digits: with timesteps at data only, the first step from noise is one that was never trained."""
    out, blind = tmp_path / "run", "rf/lognorm(-4.00,0.30)"
    argv = [f"{plugin}:copy", blind, "rf/lognorm(0,1)", *LEARNS, "--out", str(out), "--minutes", "60"]
    assert compare.main([*argv, "--seeds", "8"]) == 0
    assert f"{blind} is worse than {RF} by FID" in capsys.readouterr().out
    kept = json.loads((out / FILE).read_text())
    verdicts = {row["formulation"]: row["verdict"] for row in kept["rows"] if row["metric"] == "fid"}
    assert verdicts[blind] == "worse"
    assert verdicts["my/copy"] in ("equivalent", "undecided")
    assert kept["seeds"] < 8, "it stops before the seeds are over"


@pytest.mark.usefixtures("here")
def test_another_comparison_uses_what_is_trained(
    plugin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a run"
    assert compare.main(["v/cos", "rf", *TINY, "--out", str(out), "--seeds", "2"]) == 0
    assert f"python -m analysis.report '{out}'\n" in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/result.json")}
    found = flowbench.compare(f"{plugin}:late", "rf", **options(TINY), out=out, seeds=1)
    assert isinstance(found, Comparisons)
    assert found.baseline == "rf"
    assert found.rivals == ("my/late(2.00)",)
    assert seeds(out) == {"v/cos": 2, "rf": 2, "my/late(2.00)": 1}, (
        "looks after each seed, also of those begun"
    )
    assert before.items() <= {p: p.stat().st_mtime_ns for p in out.glob("cells/*/*/result.json")}.items()
    assert "Against rf" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_a_plugin_edited_while_seeds_train_changes_no_seed(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, text = tmp_path / "run", plugin.read_text()
    before = run_local.run_shares

    def shares(*given: Any) -> Any:
        plugin.write_text(text.replace("t**k", "t ** (k + 1)"))
        return before(*given)

    monkeypatch.setattr(run_local, "run_shares", shares)
    argv = [f"{plugin}:late", "rf", *TINY, "--out", str(out)]
    assert compare.main([*argv, "--seeds", "2"]) == 0
    assert seeds(out) == {"my/late(2.00)": 2, "rf": 2}
    (code,) = (out / "code").iterdir()
    assert (code / "plugins" / "0-my.py").read_text() == text
    with pytest.raises(UserError, match=r"'my/late\(2\.00\)' has changed since"):
        compare.command([*argv, "--seeds", "3"], 0.0)


def test_a_plugin_edited_after_it_was_read_is_not_submitted(plugin: Path, tmp_path: Path) -> None:
    load_plugin(plugin)
    plugin.write_text(PLUGIN + "# edited")
    with pytest.raises(UserError, match=r"my\.py has changed since this command read it"):
        snapshot.take(tmp_path, (plugin,))


def options(argv: list[str]) -> dict[str, Any]:
    """A command line as options of Python."""
    found: dict[str, Any] = {}
    for word in argv:
        if word.startswith("--"):
            found[name := word.removeprefix("--").replace("-", "_")] = []
        else:
            found[name].append(word)
    return found


def judged(verdicts: dict[str, str]) -> Comparisons:
    """Comparisons with ``rf`` that came out so."""
    rows = tuple(
        Comparison(name, "fid", True, 3, -1.0, -2.0, 0.5, 2.0, 0.9, verdict, None)  # type: ignore[arg-type]
        for name, verdict in verdicts.items()
    )
    return Comparisons("rf", "fid", None, 0.05, {m.name: m for m in columns()}, rows)


@pytest.mark.usefixtures("here")
def test_it_stops_when_every_comparison_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def against(read: Results, *given: Any) -> Comparisons:
        looks.append(read.frame["seed"].nunique())
        return judged({"v/cos": "better", "eps/cos": "worse" if looks[-1] > 2 else "undecided"})

    monkeypatch.setattr(baseline, "against", against)
    assert compare.main(["v/cos", "eps/cos", "rf", *TINY, "--out", str(tmp_path / "run")]) == 0
    assert max(looks) == 3
    assert seeds(tmp_path / "run") == {"v/cos": 3, "eps/cos": 3, "rf": 3}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", [compare.main, grid.main])
def test_another_command_in_the_folder_changes_no_result(
    command: Callable[[list[str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While cells train, another command has put its plan into the folder."""
    out = tmp_path / "run"
    before = run_local.run_shares

    def shares(*given: Any) -> Any:
        done = before(*given)
        plan = json.loads((out / "grid.json").read_text())
        plan["cells"] = [cell | {"cell": "0" * 12, "formulation": "edm"} for cell in plan["cells"][:1]]
        (out / "grid.json").write_text(json.dumps(plan))
        return done

    monkeypatch.setattr(run_local, "run_shares", shares)
    names = ["v/cos", "rf"] if command is compare.main else ["--formulations", "v/cos", "rf"]
    assert command([*names, *TINY, "--out", str(out), "--seeds", "2"]) == 0
    printed = capsys.readouterr()
    assert "v/cos" in printed.out
    assert "edm" not in printed.out
    assert "no table" not in printed.err
    assert {c.formulation for c in run.read(out).manifests[0].cells} == {"v/cos", "rf"}


@pytest.mark.usefixtures("here")
def test_a_formulation_that_fails_does_not_end_the_others_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "run", run_local.run_shares

    def shares(planned: Plan, *given: Any) -> Plan:
        for p in planned.cells:
            if p.cell.formulation == "v/cos":  # where its weights belong is a folder
                (p.folder / "ema.safetensors").mkdir(parents=True, exist_ok=True)
        return before(planned, *given)

    monkeypatch.setattr(run_local, "run_shares", shares)
    assert compare.main(["v/cos", "eps/cos", "rf", *TINY, "--out", str(out), "--seeds", "2"]) == 1
    assert seeds(out) == {"v/cos": 2, "eps/cos": 2, "rf": 2}
    printed = capsys.readouterr()
    assert "v/cos is not compared with rf: failed in 2 of 2 seeds (2 seeds" in printed.out
    assert "runs failed cells again" in printed.err
    assert compare.main(["v/cos", "rf", *TINY, "--out", str(out), "--seeds", "3"]) == 1
    assert seeds(out) == {"v/cos": 2, "eps/cos": 2, "rf": 2}, "where nothing is left to decide it ends"
    names = ["--formulations", "v/cos", "rf"]
    assert grid.main([*names, *TINY, "--out", str(tmp_path / "grid"), "--minutes", "9", "--seeds", "2"]) == 1
    assert seeds(tmp_path / "grid") == {"v/cos": 1, "rf": 1}, "by time alone a failure ends it"


@pytest.mark.usefixtures("here")
def test_it_stops_when_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Over:
        def perf_counter(self) -> float:
            return float("inf")

    monkeypatch.setattr(seed_by_seed, "time", Over())
    assert compare.main(["v/cos", "rf", *TINY, "--out", str(tmp_path / "run"), "--minutes", "1"]) == 0
    assert seeds(tmp_path / "run") == {"v/cos": 1, "rf": 1}
    said = capsys.readouterr().out
    assert "Undecided: v/cos against rf by FID" in said
    assert "`python -m bench.compare v/cos rf " in said


@pytest.mark.usefixtures("here")
def test_trainings_that_all_diverge_compare_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["v/cos", "rf", *TINY, "--out", str(tmp_path / "run"), "--lr", "1e30"]
    assert compare.main(argv) == 1
    printed = capsys.readouterr()
    assert "no ranking: of 2 cells 2 diverged" in printed.err
    assert "error" not in printed.err
    assert not (tmp_path / "run" / FILE).exists()
