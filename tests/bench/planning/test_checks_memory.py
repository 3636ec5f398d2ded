"""A dry run fails or warns where the run would for want of memory: of this machine, of its GPU, of a node of Slurm's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import grid
from bench.launch import local
from bench.launch.slurm.slurm_launcher import by_slurm
from bench.launch.slurm.slurm_options import parse
from bench.machine import cgroup
from flowbench._core.errors import UserError

from ..runs import SMALL, both
from ..stand_ins import install

MIB = 1024**2


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed, and what passes the checks is not run."""

    def stop(*given: object) -> None:
        raise UserError("begun")

    monkeypatch.setattr("bench.launch.snapshot.take", stop)
    monkeypatch.setattr("bench.cost.price.check_device", lambda device: None)
    monkeypatch.setattr("bench.cost.price.ask", lambda *given: pytest.fail("a check comes before"))


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Two GPUs, and how much of their memory the driver's program reports as free, in MiB."""

    def install(said: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{said}'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    return install


def memory_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The line of a dry run on memory; the run warns alike, if at all."""
    assert grid.main([*SMALL, *arguments, "--dry-run", "--tflops", "1"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("memory: ")]
    assert grid.main([*SMALL, *arguments]) == 2
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    doubtful = line.startswith("memory: it may not fit: ")
    assert warned == [line.replace("memory: ", "warning: ")] * doubtful
    return line


def test_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--device", "cpu", "--out", str(tmp_path / "run")]
    assert ", and " in (line := memory_line(out, capsys))
    assert line.endswith("of memory are free")
    monkeypatch.setattr(cgroup, "available_memory", lambda: 1e5)
    assert "--depth 1: a training step with --batch" in both([*out, "--pack", "1"], capsys)
    said = both([*out, "--pack", "3"], capsys)
    assert said.startswith("error: --pack 2: a training step with --batch 8 takes about "), (
        "there are two cells"
    )
    assert said.endswith(", and 100 kB of memory are free: take less, or another machine")


def test_of_a_gpu(
    tmp_path: Path,
    gpu: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What parameters take is a reason to refuse; activations, which some kernels do not keep, one to warn."""
    command = ["--device", "cuda", "--batch", "512", "--train-images", "600", "--out", str(tmp_path / "run")]
    gpu("30000\\n20000\\n")
    assert memory_line(command, capsys).endswith(
        f"MB, and {20000 * MIB / 1e9:.3g} GB of the GPU's memory are free"
    )
    gpu("30000\\n8\\n")
    assert memory_line(command, capsys).startswith(
        "memory: it may not fit: --pack 2: a training step with --batch 512 "
    )
    assert local.gpu_memory("cuda:0") == 8 * MIB, "the program is asked for that one alone"
    gpu("0\\n0\\n")
    assert both(command, capsys).endswith("0 kB of the GPU's memory are free: take less, or another GPU")
    for unknown in ("[N/A]\\n", ""):
        gpu(unknown)
        assert memory_line(command, capsys).endswith("; how much memory the GPU has is not known here")
    (tmp_path / "nvidia-smi").unlink()
    assert memory_line(command, capsys).endswith("; how much memory the GPU has is not known here")


def test_of_a_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    command = ["--executor", "slurm", "--device", "cuda", "--out", str(tmp_path / "run")]
    assert memory_line(command, capsys).endswith(
        "; how much memory the cluster's GPUs have is not known here"
    )
    said = both([*command, "--slurm.mem=300M"], capsys)
    assert (
        said
        == "error: a worker takes about 400 MB before it trains, and 315 MB are asked for with --slurm.mem"
    )
    command += ["--device", "cpu"]
    unknown = "; how much memory a node gives without --slurm.mem is not known here"
    for given in ([], ["--slurm.mem=0"]):
        assert memory_line([*command, *given], capsys).endswith(unknown)
    fits = ["--slurm.mem-per-cpu=1G", "--slurm.cpus-per-task=4"]
    assert memory_line([*command, *fits], capsys).endswith(
        ", and 4.29 GB are asked for with --slurm.mem-per-cpu"
    )
    assert memory_line([*command, "--slurm.mem=1G", "--pack", "999"], capsys).endswith(
        "are asked for with --slurm.mem"
    )
    large = ["--batch", "20000", "--train-images", "20000"]
    said = both([*command, "--slurm.mem=1G", "--pack", "999", *large], capsys)
    assert said.startswith("error: --pack 2: a training step with --batch 20000 takes about ")
    assert said.endswith(", and 1.07 GB are asked for with --slurm.mem: take less, or ask for more")


def test_a_dry_run_refuses_a_second_gpu_as_the_run_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch)
    command = ["--executor", "slurm", "--device", "cuda", "--slurm.gpus=2", "--out", str(tmp_path / "run")]
    assert "a worker uses 1 GPU on a node" in both(command, capsys)


@pytest.mark.parametrize(
    ("pairs", "amount"),
    [
        ([("mem", "4G")], 4096 * MIB),
        ([("mem", "4GB")], 4096 * MIB),
        ([("mem", "4000")], 4000 * MIB),
        ([("mem", "512k")], MIB / 2),
        ([("mem", "0")], None),
        ([], None),
        ([("mem_per_cpu", "2G"), ("cpus_per_task", "3")], 6144 * MIB),
        ([("mem_per_cpu", "2G"), ("gpus", "1")], 16384 * MIB),
        ([("mem_per_gpu", "7G"), ("gpus", "1")], 7168 * MIB),
        ([("mem", "much")], None),
    ],
)
def test_what_slurm_was_asked_for(pairs: list[tuple[str, str]], amount: float | None) -> None:
    assert by_slurm(parse(pairs)).amount == amount


def test_replicas_on_processors_share_the_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.machine.cores.most", lambda: 8)
    out = ["--out", str(tmp_path / "run"), "--pack", "1"]
    one, four = (memory_line([*out, "--replicas", count], capsys) for count in ("1", "4"))
    assert "a training step with --batch 8 takes about" in one
    assert "a training step with --batch 8 in 4 parts on each of 4 replicas takes about" in four


def test_divided_parameters_fit_where_whole_ones_do_not(
    tmp_path: Path, gpu: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    two = [
        "--device",
        "cuda",
        "--depth",
        "6",
        "--out",
        str(tmp_path / "run"),
        "--pack",
        "1",
        "--replicas",
        "2",
    ]
    gpu("6\\n6\\n")
    assert both(two, capsys).endswith("MB of the GPU's memory are free: take less, or another GPU")
    line = memory_line([*two, "--shard", "blocks"], capsys)
    assert "it may not fit: --depth 6: a training step with --batch 8 in 2 parts --shard blocks takes" in line
