"""A small real setup: shapes, the shipped text encoder, a tiny model."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.config.experiment import Cell, Evaluation, Grid, Images, Model, Training
from bench.config.sampling_settings import Setting
from bench.cost import estimate
from bench.launch import snapshot
from bench.launch.codes import Ending
from bench.launch.pool import Pool
from bench.launch.supervisor import Supervisor
from bench.planning.cells import cells_of
from bench.planning.requirements import Requirements
from bench.runfolder import store
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Execution, Share, Submission
from bench.training import tuning
from bench.worker import loop as worker
from bench.worker.setup import Setup, make
from formulations.formulation_registry import registry

from .comparisons import PLUGIN
from .tables import Stub, Table, Using

CPU = torch.device("cpu")

TINY = Grid(
    formulations=("rf/lognorm(0,1)", "eps/linear", "edm(-1.2,1.2)"),
    model=Model(depth=1, width=32, heads=2, patch=4),
    images=Images(resolution=16, train=96, validation=48),
    training=Training(steps=12, batch=8, warmup=2, lr=3e-3, validations=3, validation_images=16),
    evaluation=Evaluation(settings=(Setting(4, 1.0), Setting(2, 5.0)), samples=12, weights=("ema", "raw")),
)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Many small products: threads only cost, and one thread is bit-reproducible. In workers too."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True)
def usual_products() -> Iterator[None]:
    """A command lets oneDNN multiply from then on; every test begins and ends with torch's own choice."""
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def grid() -> Grid:
    return TINY


@pytest.fixture(scope="session")
def setup() -> Setup:
    return make("shapes", TINY, CPU)


@pytest.fixture
def cell() -> Cell:
    return Cell("rf", "shapes", 0, TINY.model, TINY.images, TINY.training)


@pytest.fixture(scope="session")
def tiny() -> Grid:
    """Fewer formulations, images and steps, for what is submitted."""
    return Grid(
        formulations=("rf/lognorm(0,1)", "eps/linear"),
        model=Model(depth=1, width=32, heads=2, patch=4),
        images=Images(resolution=16, train=32, validation=16),
        training=Training(steps=4, batch=8, warmup=2, lr=3e-3, validations=2, validation_images=16),
        evaluation=Evaluation(settings=(Setting(2, 1.0),), samples=4, weights=("ema",)),
    )


def submission(
    out: Path,
    grid: Grid,
    shares: Sequence[Share] | None = None,
    plugins: Sequence[Path] = (),
    code: str | None = None,
    **execution: Any,
) -> Submission:
    """A submission that is written: one share for all cells, or those that are given; ``code`` saves the snapshot."""
    store.prepare(out, 0o700)
    shares = shares or [Share(tuple(cell.id for cell in cells_of(grid)))]
    digest, names = snapshot.take(out, plugins) if code is None else (code, ())
    chosen = Execution(device="cpu", compile="off", **execution)
    made = submissions.new(out, grid, chosen, shares, digest, names, ["a", "command"])
    submissions.write(made)
    return made


@pytest.fixture
def submit(tiny: Grid, tmp_path: Path) -> Callable[..., Submission]:
    """Writes a submission in the test's folder."""

    def make(grid: Grid = tiny, **given: Any) -> Submission:
        return submission(tmp_path / "run", grid, **given)

    return make


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in this process."""
    run_here(monkeypatch)


def run_here(patch: pytest.MonkeyPatch) -> None:
    """Let workers run in this process, where a test can reach into them; supervisors and the command are as usual."""

    def attempt(self: Supervisor, alone: bool) -> int:
        usual = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)}
        patch.setattr(worker, "STARTED", time.perf_counter())
        argv = [str(self.submission.folder), str(self.index), self.token, *["--alone"] * alone]
        try:
            with (
                self.submission.log_file(self.index).open("a") as log,
                redirect_stdout(log),
                redirect_stderr(log),
            ):
                return worker.main(argv)
        finally:
            for number, handler in usual.items():
                signal.signal(number, handler)

    def run(self: Pool, watch: Callable[[], None]) -> dict[int, Ending]:
        for index in range(len(self.submission.shares)):
            boss = Supervisor(self.submission, index, {})
            self.endings[index] = boss.run()
            self.failures[index] = boss.failure
        watch()
        return self.endings

    patch.setattr(os, "getppid", os.getpid)  # a worker looks whether its supervisor lives
    patch.setattr(Supervisor, "attempt", attempt)
    patch.setattr(Pool, "run", run)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements and compiled code of a test are its own, and there are headers to compile with."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    monkeypatch.setattr(tuning.sysconfig, "get_path", lambda name: str(tmp_path / "include"))


@pytest.fixture
def using(monkeypatch: pytest.MonkeyPatch) -> Using:
    """Measure by a table, on a machine with enough memory."""

    def use(table: Table) -> Table:
        monkeypatch.setattr(tuning, "Trainer", Stub)
        monkeypatch.setattr(tuning, "alternate", table.alternate)
        monkeypatch.setattr(tuning, "seconds", table.seconds)
        monkeypatch.setattr(tuning, "free_memory", lambda device: float("inf"))
        monkeypatch.setattr(torch.compiler, "reset", lambda: None)
        return table

    return use


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a compiler here."""
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "c++" else None)


@pytest.fixture
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker starts at once, and has nothing to load."""
    monkeypatch.setattr(estimate, "START", 0.0)
    monkeypatch.setattr(Requirements, "reference", 0.0)
    monkeypatch.setattr(Requirements, "encoding", 0.0)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file whose formulations are forgotten after the test; workers in this process have them already."""
    monkeypatch.setattr(worker.formulations, "load_plugin", lambda file: ())
    kept = dict(registry.entries)
    file = tmp_path / "my.py"
    file.write_text(PLUGIN)
    yield file
    registry.entries.clear()
    registry.entries.update(kept)
