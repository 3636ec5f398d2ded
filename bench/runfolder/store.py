"""The folder of a run: the only place where the state of an experiment lives.

    DIR/grid.json                     the last command's plan: grid, recipes, cells (:mod:`bench.runfolder.manifest`)
    DIR/confirm.json                  the same of its confirmation on fresh seeds (:mod:`bench.driver.confirm`)
    DIR/config.toml                   the experiment of the last command as options (:mod:`bench.cli.config_file`)
    DIR/cells/ID/config.json          everything that went into the cell, checked before it is reused
    DIR/cells/ID/status.json          trained, diverged or failed, and why
    DIR/cells/ID/metrics.jsonl        one line a validation, while it trains
    DIR/cells/ID/log.txt              the cell's history
    DIR/cells/ID/lease.json           its present worker
    DIR/cells/ID/checkpoint-STEP.safetensors   while it trains: two generations
    DIR/cells/ID/checkpoint-STEP-1of4.safetensors   the part of a replica, if its parameters are divided
    DIR/cells/ID/{ema,raw}.safetensors
    DIR/cells/ID/{ema,raw}@FRACTION.safetensors   those of a milestone, while it trains and from then on
    DIR/cells/ID/images-SAMPLING/     images and path lengths by the hash of how they are sampled, a file a control setting
    DIR/cells/ID/EVAL/                measurements under the hash of the evaluation recipe
    DIR/real-scores/RECIPE/           the same measurements of real images, a file for each dataset
    DIR/submissions/ID/               the work that was handed to workers (:mod:`bench.runfolder.submission`)
    DIR/code/DIGEST/                  the code that they run
    DIR/.lock                         held by a command while it plans and submits
    DIR/results.parquet, ranking.csv, samples.png, real-scores.json, timings.json

Each file has one writer, and is written under another name, synced, and renamed; ``results.parquet`` is made from the cells
by readers of the folder (:mod:`analysis.runs.collect`). Files of tensors carry the sha256 of their content.
"""

from __future__ import annotations

import errno
import fcntl
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from bench.config.identity import restore
from flowbench._core import atomic
from flowbench._core.errors import UserError

T = TypeVar("T")

WEIGHTS = ("ema.safetensors", "raw.safetensors")
"""The results of training, in a cell's folder."""
MILESTONES = "*@*.safetensors"
"""Further ones."""
MEASURED = ("result.json", "per_sample.safetensors")
"""The results of an evaluation, in its folder."""


def read_config(path: Path, part: str, kind: type[T]) -> T:
    """Read the configuration that a JSON object of a run folder keeps as a part. Raises :class:`Damaged`."""
    try:
        return restore(kind, atomic.read_object(path)[part])
    except (KeyError, TypeError, AttributeError):
        raise atomic.Damaged(
            f"{path} cannot be read (it holds no {part} of this version): the command that made the run writes it again"
        ) from None


def weights_file(folder: Path, name: str) -> Path:
    """The weights of a cell by their name (:mod:`bench.config.kept_weights`)."""
    return folder / f"{name}.safetensors"


def images_file(folder: Path, sampling: str, setting: str) -> Path:
    """The images of a cell for a control setting."""
    return folder / f"images-{sampling}" / f"{setting}.safetensors"


def checkpoint_file(folder: Path, step: int, rank: int = 0, count: int = 1) -> Path:
    """The checkpoint of a cell at a step; of one that ``count`` replicas divide the file of one of them. The first one's
    is written after the others: all are there once it is."""
    part = f"-{rank}of{count}" * (rank > 0)
    return folder / f"checkpoint-{step:08}{part}.safetensors"


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps of a cell's checkpoints, the newest first."""
    found = (re.fullmatch(r"checkpoint-(\d+)\.safetensors", p.name) for p in folder.glob("checkpoint-*"))
    return sorted((int(match[1]) for match in found if match), reverse=True)


def delete_checkpoints(folder: Path, steps: Callable[[int], bool] = lambda step: True) -> None:
    """Delete the checkpoints of a cell at such ``steps``, all of them if not given."""
    for file in sorted(folder.glob("checkpoint-*"), reverse=True):  # the first replica's before the others'
        match = re.fullmatch(r"checkpoint-(\d+)(-\d+of\d+)?\.safetensors", file.name)
        if match and steps(int(match[1])):
            file.unlink(missing_ok=True)


LOCK_SECONDS = 60.0
"""How long a command waits for another one that plans and submits on the same folder."""


def lock(folder: Path, patience: float = LOCK_SECONDS) -> BinaryIO:
    """Hold a run folder alone until the returned file is closed. Raises :class:`UserError` if another command keeps it."""
    try:
        file = atomic.append(folder / ".lock")
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UserError(
            f"{folder / '.lock'} is a symbolic link, which flowbench does not make: delete it"
        ) from None
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                file.close()
                raise UserError(
                    f"--out {folder}: its file system has no locks ({error.strerror}): mount it with them "
                    f"(Lustre: -o flock), or name a folder elsewhere"
                ) from None
            if time.monotonic() > until:
                file.close()
                raise UserError(
                    f"--out {folder} is in use by another command that plans or submits: try again, or name another folder"
                ) from None
            time.sleep(0.05)


def prepare(folder: Path, mode: int) -> None:
    """Make the run folder with a mode, if it is not there. Raises :class:`UserError` if it cannot be written."""
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)  # another command may begin in this moment
            atomic.set_mode(folder, mode)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"--out {folder} cannot be written: {error.strerror or error}") from None
