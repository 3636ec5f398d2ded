"""Tables of several networks: never ranked as one, chosen by ``model=``, ranked within each, and crossed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import rank
from analysis.plots import __main__ as plots
from analysis.ranking import crossed
from analysis.report import __main__ as report
from analysis.runs import networks
from analysis.runs.run import read
from flowbench._core.errors import UserError

MODELS: dict[str, dict[str, object]] = {
    "mmdit": {"depth": 3, "width": 64},
    "dit": {"depth": 3, "width": 84, "architecture": "dit"},
}


def write(folder: Path, **columns: object) -> Path:
    """Two formulations by two networks over three seeds: dit is 2 better in CLIP, rf 1, and with dit 0.5 more."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "formulation": name,
            "base": name,
            "sampler": "uniform",
            "dataset": "a",
            "weights": "ema",
            "steps": 5,
        }
        | {"cfg": 5.0, "seed": seed, "fid": 20.0, "cell": f"{name}{network}{seed}"}
        | {"recipe": json.dumps({"model": model, "training": {"steps": 9}})}
        | {"clip": 30 + 2 * (network == "dit") + (name == "rf") + 0.5 * (name + network == "rfdit")}
        for name in ("rf", "v/cos")
        for network, model in MODELS.items()
        for seed in range(3)
    ]
    file = folder / "networks.csv"
    frame = pd.DataFrame(rows)
    frame.assign(clip=frame["clip"] + 0.05 * rng.normal(size=len(frame)), **columns).to_csv(file, index=False)
    return file


def test_networks_stand_apart_and_one_is_chosen_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(write(tmp_path))
    assert rank.main([file]) == 0
    assert "6 settings: a with dit, a with mmdit;" in capsys.readouterr().out
    assert rank.main([file, "--where", "model=mmdit"]) == 0
    assert "3 settings: a;" in capsys.readouterr().out
    assert set(read(file, ["model=dit"]).frame["cell"].str.contains("dit")) == {True}
    assert rank.main([file, "--where", "model=crossdit"]) == 2
    assert "'dit'" in capsys.readouterr().err
    assert rank.main([file, "--baseline", "rf", "--metric", "clip"]) == 0
    assert "Against rf" in capsys.readouterr().out


def test_formulations_are_ranked_within_each_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rank.main([str(write(tmp_path)), "--by", "model", "--format", "csv"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()[:3]
    assert "rank[dataset=a with dit]" in header
    assert "rank[dataset=a with mmdit]" in header
    assert (first.split(",")[0], second.split(",")[0]) == ("rf", "v/cos")


def test_page_and_figures_have_each_network_apart(tmp_path: Path) -> None:
    file = str(write(tmp_path))
    assert plots.main([file, "--only", "ranks", "--format", "svg"]) == 0
    assert report.main([file]) == 0
    assert "a with dit" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_effects_of_formulation_and_network_and_their_interaction(tmp_path: Path) -> None:
    tables = {t.name: t for t in crossed.tables(read(write(tmp_path)))}
    network, formulation = tables["clip_network"], tables["clip_formulation"]
    assert network.frame["network"].tolist() == ["dit", "mmdit"]
    assert network.frame["effect"].tolist() == pytest.approx([1.125, -1.125], abs=0.1)
    assert formulation.frame["effect"].tolist() == pytest.approx([0.625, -0.625], abs=0.1)
    (line,) = (note for note in network.notes if note.startswith("interaction:"))
    assert line.startswith("interaction: decided, root mean square 0.1")
    assert float(line.split(" p ")[1]) < 0.05, "rf gains more by dit"
    best = [note for note in (*network.notes, *formulation.notes) if note.startswith("one best")]
    assert best[0].startswith("one best network for every formulation: decided, dit; separable gap for")
    assert best[1].startswith("one best formulation for every network: decided, rf; separable gap for")


def test_a_best_that_depends_on_the_network_and_one_that_is_undecided(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path))
    dit = frame["recipe"].str.contains("dit")
    turned = frame["clip"] - 3 * (dit & (frame["formulation"] == "rf"))
    noisy = frame["clip"] + np.random.default_rng(1).normal(size=len(frame))
    for clip, words in (
        (turned, "decided, there is none;"),
        (noisy, "undecided; if there is one, it is rf or v/cos;"),
    ):
        frame.assign(clip=clip).to_csv(tmp_path / "other.csv", index=False)
        (table,) = (t for t in crossed.tables(read(tmp_path / "other.csv")) if t.name == "clip_formulation")
        (line,) = (note for note in table.notes if note.startswith("one best"))
        assert line.startswith(f"one best formulation for every network: {words}")


def test_a_network_of_two_sizes_is_a_mistake(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path))
    wider = frame[frame["seed"] == 2]["recipe"].str.replace('"width": 84', '"width": 88')
    frame.loc[wider.index, "recipe"] = wider
    frame.to_csv(tmp_path / "two.csv", index=False)
    found = read(tmp_path / "two.csv")
    assert networks.several(found)
    with pytest.raises(UserError, match=r"dit has several sizes \(model.width 84, 88\)"):
        networks.apart(found)


def test_other_differences_are_no_networks(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path))
    dit = frame["recipe"].str.contains("dit")
    frame.loc[dit, "recipe"] = frame["recipe"][dit].str.replace('"steps": 9', '"steps": 8')
    frame.to_csv(tmp_path / "other.csv", index=False)
    assert not networks.several(read(tmp_path / "other.csv"))
    assert rank.main([str(tmp_path / "other.csv"), "--by", "model"]) == 2


def test_a_table_without_recipes_has_no_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path)
    pd.read_csv(file).drop(columns="recipe").drop_duplicates(["formulation", "seed"]).to_csv(
        file, index=False
    )
    assert rank.main([str(file), "--by", "model"]) == 2
    assert "rows without one" in capsys.readouterr().err
