"""Latents encoded by the tasks of an array: the same bytes as of one process, and no task is missed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..bench.autoencoders import save_kl
from .cluster import Cluster
from .cluster_runs import ENVIRONMENT, SLURM, until


@pytest.mark.long
def test_tasks_of_an_array_encode_what_one_process_encodes(cluster: Cluster, tmp_path: Path) -> None:
    place = save_kl(tmp_path / "kl")
    source = ["--data", "shapes", "--resolution", "16", "--train", "9000", "--validation", "100"]

    def encode(out: str, *more: str) -> Path:
        """Run the command in a folder where its module is not."""
        words = [*source, "--autoencoder", str(place), "--device", "cpu", "--out", out, *more]
        given = os.environ | cluster.environment() | ENVIRONMENT
        subprocess.run([sys.executable, "-m", "bench.encode", *words], env=given, cwd=tmp_path, check=True)
        return tmp_path / out

    divided = encode("divided", "--executor", "slurm", "--parts", "3", *SLURM[4:])
    until(lambda: [*(divided / "slurm" / "1").glob("*_result.pkl")], 400, "the end of the last job")
    plain = encode("plain")
    names = sorted(file.name for file in plain.iterdir())
    assert sorted(file.name for file in divided.iterdir()) == sorted([*names, "slurm"])
    for name in names:
        assert (divided / name).read_bytes() == (plain / name).read_bytes()
    logs = [file.read_text() for file in sorted((divided / "slurm" / "0").glob("*.err"))]
    assert len(logs) == 3
    assert all("latents" in log for log in logs), "each task wrote a part"
