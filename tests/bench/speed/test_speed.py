"""The benchmark command: its lines, its mistakes, its peers. Nothing here depends on how long anything takes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.models.networks.mmdit import MMDiT
from bench.speed import commands, evaluation, timing
from bench.speed.__main__ import OPTIONS, PARTS, machine, main, parse, parser
from bench.speed.children import children
from bench.speed.peers import PEERS, Diffusers, Lucidrains, parameters
from bench.speed.sizes import QUICK, SIZES, TINY, our_step, peer_step
from bench.speed.timing import Row, pair
from bench.training.tuning import inputs
from flowbench._core.errors import UserError

CPU = torch.device("cpu")

NEEDED = {"step": ("diffusers", "mmdit"), "metrics": ("torch_fidelity",)}
"""Packages of the extra 'speed' that a part compares with."""

LONG = dict.fromkeys(("grid", "members", "work"), (pytest.mark.long,))
"""Parts that start whole commands and many processes."""

COMPARED = {"step", "networks", "members", "generate"}
"""Parts all of whose lines are ratios."""


def needs(*packages: str) -> None:
    for package in packages:
        pytest.importorskip(package, reason="the extra 'speed' is not installed")


@pytest.mark.parametrize("part", [pytest.param(part, marks=LONG.get(part, ())) for part in PARTS])
def test_a_tiny_run_of_every_part(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs(*NEEDED.get(part, ()))
    file = tmp_path / "rows.json"
    assert main(["--tiny", "--parts", part, "--json", str(file)]) == 0
    written = json.loads(file.read_text())
    assert {"device", "threads", "torch", "python", "commit"} <= set(written["machine"])
    assert written["rows"]
    printed = capsys.readouterr().out
    for row in written["rows"]:
        assert row["part"] == part
        assert row["unit"]
        assert row["what"] in printed
        numbers = [row[key] for key in ("ours", "other", "ratio") if row[key] is not None]
        assert len(numbers) in (1, 3)
        assert len(numbers) == 3 or part not in COMPARED
        # a stage of a run may take no time, and few members little memory
        assert all(math.isfinite(n) and (n > 0 or len(numbers) == 1) for n in numbers)
        assert bool(row["against"]) == (len(numbers) == 3)


def test_timing_alternates() -> None:
    calls: list[str] = []

    def named(name: str) -> Callable[[], None]:
        return lambda: calls.append(name)

    found = pair(named("a"), named("b"), repeats=3, warmups=1)
    assert "".join(calls) == "ab" * 4
    assert all(math.isfinite(value) for value in (found.ours, found.other, found.ratio))
    calls.clear()
    pair(named("a"), named("b"), repeats=2, warmups=0, calls=3)
    assert "".join(calls) == "aaabbb" * 2


def test_a_pair_is_medians_and_the_median_of_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 2.0, 9.0, 3.0, 4.0, 4.0])
    monkeypatch.setattr(timing, "clocked", lambda function, calls: next(times))
    found = pair(lambda: None, lambda: None, repeats=3, warmups=0)
    assert (found.ours, found.other, found.ratio) == (4.0, 3.0, 1.0)


MISTAKES = [
    (["--parts", "steps"], "did you mean 'step'"),
    (["--parts"], "--parts"),
    (["--repeats", "0"], "--repeats: '0' is not a whole number greater than 0"),
    (["--repeats", "few"], "'few' is not a whole number"),
    (["--members", "4", "0"], "--members: '0' is not a whole number greater than 0"),
    (["--sizes", "d2-17"], "d2-16"),
    (["--presets", "quik"], "did you mean 'quick'"),
    (["--presets", "smoke", "--parts", "step"], "--presets belongs to 'grid'"),
    (["--members", "4", "--parts", "data"], "--members belongs to 'members'"),
    (["--sizes", "d2-16", "--parts", "data"], "--sizes belongs to 'step' and 'rates'"),
    (["--no-compile", "--parts", "grid"], "--no-compile belongs to"),
    (["--repeats", "3", "--parts", "grid"], "--repeats belongs to"),
    (["--paper-steps", "9"], "--paper-steps 9 belongs to the preset 'paper'"),
    (["--paper-steps", "0", "--presets", "paper"], "--paper-steps: '0'"),
    (["--tiny", "--sizes", "d2-16"], "--sizes with --tiny"),
    (["--tiny", "--no-compile"], "--no-compile with --tiny"),
    (["--repeat", "3"], "--repeats"),
]


@pytest.mark.parametrize(("argv", "words"), MISTAKES, ids=[" ".join(argv) for argv, _ in MISTAKES])
def test_mistakes(argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    assert main([*argv, "--json", str(file)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    assert words in said.err
    assert not said.out
    assert not file.exists()


def test_a_folder_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--parts", "data", "--json", str(tmp_path)]) == 2
    assert "is a folder: name a file" in capsys.readouterr().err


def test_every_option_names_its_readers() -> None:
    options = {action.dest for action in parser()._actions} - {
        "help",
        "version",
        "parts",
        "tiny",
        "gpu_checks",
        "json",
        "quiet",
        "verbose",
    }
    assert options == set(OPTIONS)
    assert {part for readers in OPTIONS.values() for part in readers} == set(PARTS)


def test_sizes_for_a_gpu_are_left_out_without_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    scope = parse(["--sizes", "d2-16", "d18"])
    assert [size.name for size in replace(scope, part="step").fitting()] == ["d2-16"]
    assert (
        "step: d18 (depth 18, width 1152, 256 + 154 tokens, batch 16, bf16) needs a GPU"
        in capsys.readouterr().out
    )


def test_a_missing_peer_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    assert main(["--tiny", "--parts", "step"]) == 2
    assert "pip install -e '.[speed]'" in capsys.readouterr().err


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_does_the_same_job(peer: str) -> None:
    needs(peer)
    torch.manual_seed(0)
    model = PEERS[peer](TINY.shape)
    batch, coeffs = inputs(TINY.shape, 1, TINY.batch, CPU)
    assert model(batch.x, coeffs.b[0], batch.tokens, batch.pooled).shape == batch.x.shape
    before = [p.detach().clone() for p in model.parameters()]
    peer_step(model, TINY, CPU)()
    assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_diffusers_has_as_many_parameters_as_we() -> None:
    needs("diffusers")
    for size in (TINY, QUICK, SIZES["d2-16"]):
        assert parameters(Diffusers(size.shape)) == size.shape.parameters() == parameters(MMDiT(size.shape))


def test_mmdit_has_the_same_width_and_heads_and_normalises_queries() -> None:
    needs("mmdit")
    shape = SIZES["d2-16"].shape
    model = Lucidrains(shape)
    blocks = list(model.blocks.get_submodule("blocks").children())
    assert len(blocks) == shape.depth
    for block in blocks:
        scale = block.get_submodule("joint_attn.q_rmsnorms.0").get_parameter("gamma")
        assert scale.shape == (shape.heads, 1, shape.width // shape.heads)
        assert block.get_submodule("image_ff.ff.2").get_parameter("weight").shape == (
            shape.width,
            4 * shape.width,
        )
    assert 1 < parameters(model) / shape.parameters() < 1.3


def test_inputs_are_seeded_and_shared_by_members() -> None:
    (one, c1), (two, c2) = (inputs(TINY.shape, members, TINY.batch, CPU) for members in (1, 3))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert all(b.shape == (3, TINY.batch) and torch.equal(a[0], b[2]) for a, b in zip(c1, c2, strict=True))


def test_a_step_of_several_members_runs() -> None:
    our_step(TINY, 2, CPU)()


def test_a_process_that_dies_is_a_sentence() -> None:
    broken = TINY.changed(heads=3)  # 32 is no multiple of 3
    with pytest.raises(UserError, match="1 of 1 processes ended early"), children(broken, 1, 1, CPU, 1):
        pass


def test_values_that_disagree_are_refused() -> None:
    assert "equal" in evaluation.agreement("x", 2.0, 2.0)
    assert "1e-04" in evaluation.agreement("x", np.array([1.0, 1.0001]), np.array([1.0, 1.0]))
    for wrong in (1.01, math.nan):
        with pytest.raises(UserError, match="do not compute the same"):
            evaluation.agreement("x", wrong, 1.0)


def test_distances_agree_with_both_libraries() -> None:
    needs("torch_fidelity")
    found = evaluation.synthetic(300, 16)
    rows = list(evaluation.distances(found, 100, parse(["--tiny"])))
    assert [row.against for row in rows] == ["clean-fid", "torch-fidelity"]


def test_a_command_that_fails_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"--preset nope' ended with exit code 2 error: unknown preset"):
        commands.run(["--preset", "nope"])


def test_stages_of_a_run_are_what_it_wrote(tmp_path: Path) -> None:
    seconds = {stage: float(i) for i, stage in enumerate(commands.STAGES)}
    (tmp_path / "timings.json").write_text(json.dumps({**seconds, "total": 15.5}))
    rows = list(commands.stages("--preset smoke", tmp_path, commands.Ran(17.0, 1.0)))
    assert all(isinstance(row, Row) for row in rows)
    assert [row.ours for row in rows] == [*seconds.values(), 1.5]
    assert rows[-1].what == "--preset smoke: starting and ending Python"


def test_the_machine_is_described_without_names_of_hosts() -> None:
    facts = machine(CPU)
    assert facts["commit"]
    assert not any("/" in str(value) for value in facts.values())
