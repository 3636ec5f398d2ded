"""The work that one command hands to its workers, and the files in which they and their supervisors answer.

    DIR/submissions/ID/submission.json      all that a worker needs, written before anything is started
    DIR/submissions/ID/jobs.json            the jobs that the launcher began or queued
    DIR/submissions/ID/launch/              the launcher's own: output of its jobs, and files about them
    DIR/submissions/ID/share-0003.json      the supervisor's: which process runs this share, and how it ended
    DIR/submissions/ID/beat-0003.json       the worker's heartbeat: its present work
    DIR/submissions/ID/end-0003.json        the worker's: why it ended, unless the folders of its cells show that
    DIR/submissions/ID/error-0003.txt       the traceback of an error that belongs to no cell
    DIR/submissions/ID/replicas-0003.json   where its first replica listens for the others, if it has several
    DIR/submissions/ID/share-0003.log       the worker's output
    DIR/submissions/ID/share-0003-replica2.log   that of its replicas from the third on, which are on another node
    DIR/submissions/ID/failures/CAUSE.CELL  empty files: cells that failed, by the hash of their traceback
    DIR/submissions/ID/cancelled            it is not started or requeued any more
    DIR/submissions/ID/closed               none of its shares is active any more

A submission's folder is never used again, so that no old file is taken for an answer.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bench.config.experiment import Grid
from bench.config.identity import full, restore
from bench.runfolder.failure import Failure
from flowbench._core import atomic
from flowbench._core.errors import UserError

Compile = Literal["auto", "on", "off"]
Recompute = Literal["off", "blocks"]
Shard = Literal["off", "blocks"]
Readers = Literal["me", "group", "all"]
MODES: dict[Readers, int] = {"me": 0o700, "group": 0o750, "all": 0o755}
"""The readers of a run folder, and its mode."""
END = "end-{:04}.json"


@dataclass(frozen=True)
class Share:
    """The cells, by id, of one worker. The others wait for ``canary`` shares."""

    cells: tuple[str, ...]
    canary: bool = False


@dataclass(frozen=True)
class Execution:
    """How workers run; no part of what a cell is. ``executor`` names their launcher, ``checkpoint`` is the
    seconds between checkpoints; None is ``auto``. ``trusted`` means that the user trusts those who can write into the run
    folder (:mod:`bench.runfolder.trust`), ``track`` names a tracker of the cells (:mod:`bench.tracking`). A worker has
    ``replicas`` processes, each with a device of its own, that take equal parts of every batch, and go through theirs in
    ``accumulate`` parts; ``blocks`` are computed again in the backward pass if ``recompute`` says so. They divide the
    parameters, block by block, if ``shard`` says so. With ``probes`` validations also measure attention."""

    executor: str = "local"
    device: str = "auto"
    pack: int | None = None
    compile: Compile = "auto"
    checkpoint: float = 300.0
    slots: int | None = None
    trusted: bool = False
    track: str | None = None
    accumulate: int = 1
    recompute: Recompute = "off"
    replicas: int = 1
    shard: Shard = "off"
    probes: bool = False

    @property
    def parts(self) -> int:
        """Into how many equal parts a batch is divided."""
        return self.replicas * self.accumulate

    @property
    def shards(self) -> int:
        """Into how many equal parts parameters are divided."""
        return self.replicas if self.shard == "blocks" else 1


@dataclass(frozen=True)
class Submission:
    """All shares of one command. ``host``, ``pid`` and ``started`` identify the command, ``code`` is the digest of its
    workers' code, and ``commit`` the commit of that, if it is a checkout."""

    folder: Path
    grid: Grid
    execution: Execution
    shares: tuple[Share, ...]
    code: str
    plugins: tuple[str, ...]
    command: tuple[str, ...]
    host: str
    pid: int
    started: str
    commit: str | None = None

    @property
    def id(self) -> str:
        """Its name, which sorts by time."""
        return self.folder.name

    @property
    def out(self) -> Path:
        """The run folder."""
        return self.folder.parent.parent

    @property
    def code_folder(self) -> Path:
        """The snapshot of the code that its workers run."""
        return self.out / "code" / self.code

    @property
    def plugin_files(self) -> list[Path]:
        """The plugins' copies, in the order in which they were named."""
        return [self.code_folder / "plugins" / name for name in self.plugins]

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return (self.folder / "cancelled").exists()

    @property
    def closed(self) -> bool:
        """Whether none of its shares is active any more, and none will be."""
        return (self.folder / "closed").exists()

    def state_file(self, index: int) -> Path:
        """Where a share's supervisor writes."""
        return self.folder / f"share-{index:04}.json"

    def beat_file(self, index: int) -> Path:
        """Where a share's worker writes its heartbeat."""
        return self.folder / f"beat-{index:04}.json"

    def end_file(self, index: int) -> Path:
        """Where a share's worker notes why it ended."""
        return self.folder / END.format(index)

    def replicas_file(self, index: int) -> Path:
        """Where the first replica of a share's worker notes how the others reach it."""
        return self.folder / f"replicas-{index:04}.json"

    def log_file(self, index: int, rank: int = 0) -> Path:
        """The output of a share's worker, on the machine whose first replica is ``rank``."""
        return self.folder / f"share-{index:04}{f'-replica{rank}' * (rank > 0)}.log"


def error_file(folder: Path, index: int) -> Path:
    """Where a worker of the submission in ``folder`` leaves the traceback of an error that belongs to no cell."""
    return folder / f"error-{index:04}.txt"


def write_end(folder: Path, index: int, token: str, failure: Failure, trace: str = "") -> None:
    """Note why a worker ends. On a disk that takes nothing more its exit code has to do."""
    with suppress(OSError):
        if trace:
            atomic.write_text(error_file(folder, index), trace, sync=False)
        atomic.write_json(folder / END.format(index), {"token": token} | asdict(failure), sync=False)


def new(
    out: Path,
    grid: Grid,
    execution: Execution,
    shares: Sequence[Share],
    code: str,
    plugins: Sequence[str],
    command: Sequence[str],
    commit: str | None = None,
) -> Submission:
    """A submission with a name of its own, not written yet."""
    started = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = out / "submissions" / f"{started}-{secrets.token_hex(3)}"
    shares, plugins, command = tuple(shares), tuple(plugins), tuple(command)
    here = socket.gethostname(), os.getpid()
    return Submission(folder, grid, execution, shares, code, plugins, command, *here, started, commit)


def write(submission: Submission) -> None:
    """Write ``submission.json``, in folders that are readable as the run folder is."""
    atomic.folder(submission.folder)
    kept = asdict(submission) | {"grid": full(submission.grid)}
    del kept["folder"]
    atomic.write_json(submission.folder / "submission.json", kept)


def read(folder: Path) -> Submission:
    """Read a submission's folder. Raises :class:`UserError` if it is damaged."""
    file = folder / "submission.json"
    kept = atomic.read_object(file)
    try:
        kept["grid"] = restore(Grid, kept["grid"])
        kept["execution"] = Execution(**kept["execution"])
        kept["shares"] = tuple(Share(tuple(s["cells"]), s["canary"]) for s in kept["shares"])
        kept |= {name: tuple(kept[name]) for name in ("plugins", "command")}
        return Submission(folder=folder, **kept)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is no submission of this version of flowbench ({error}): delete {folder}"
        ) from None


def all_of(out: Path) -> list[Submission]:
    """Every submission of a run folder, oldest first."""
    return [read(file.parent) for file in sorted((out / "submissions").glob("*/submission.json"))]
