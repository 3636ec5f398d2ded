"""The page on clusters: its commands as they are written, on the test cluster."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from .cluster import Cluster

ROOT = Path(__file__).parents[2]


def test_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    commands, *_ = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(), re.DOTALL)
    path = f"{Path(sys.executable).parent}:{cluster.environment()['PATH']}"
    environment = os.environ | cluster.environment() | {"OMP_NUM_THREADS": "1", "PATH": path}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        ["bash", "-ec", commands],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "submitted 4 cells as job" in done.stdout
    assert "4 done" in done.stderr + done.stdout
    assert "rf/lognorm(0.00,1.00)" in done.stdout
    assert (tmp_path / "runs" / "rehearsal" / "ranking.csv").exists()
