"""Training on latents that are larger than the memory that the process may have: they are read as they are drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import flowbench
from bench import encode

from ..autoencoders import save_kl

COUNT, SHAPE = 1_024, (4, 64, 64)
"""Latents of 34 MB in half precision."""
LIMIT = 24
"""Megabytes that the process may have beyond those it has when training begins."""
SCRIPT = """
import re, resource, sys
from pathlib import Path
import numpy as np, torch
from bench import data
from bench.encoders import text, text_encoder
from bench.machine import resident
from bench.training.batches import Batches

torch.set_num_threads(1)
resident.RESIDENT = 1 << 20
found, device = data.load(sys.argv[1], resolution=128), torch.device("cpu")
captions = text.encode(text_encoder("tinyclip"), found.train.texts(), device)
batches = Batches(found, captions, seed=0, size=16, dropout=0.1, device=device)
first = batches.at(0).x.clone()
used = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
resource.setrlimit(resource.RLIMIT_DATA, (used + int(sys.argv[2]) * 2**20,) * 2)
means = [float(batches.at(step).x.mean()) for step in range(0, 20)]
assert torch.equal(batches.at(0).x, first) and len(set(means)) == 20
try:
    np.ones(found.train.stored.shape, dtype=np.float16)
except MemoryError:
    print("the whole set does not fit, and 20 batches were drawn")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
def test_a_set_larger_than_memory_is_read_as_it_is_drawn(tmp_path: Path) -> None:
    vae, source, out = save_kl(tmp_path / "vae"), tmp_path / "source", tmp_path / "out"
    source.mkdir()
    latents = torch.randn(COUNT, *SHAPE, generator=torch.Generator().manual_seed(0)).half()
    labels = torch.arange(COUNT) % 10
    save_file({"latents": latents, "labels": labels}, source / "latents_rank00_shard000.safetensors")
    argv = ["--latents", str(source), "--autoencoder", str(vae), "--out", str(out), "--device", "cpu"]
    assert encode.main(argv) == 0
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"encoded:{out}", str(LIMIT)],
        cwd=flowbench.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the whole set does not fit, and 20 batches were drawn\n"
