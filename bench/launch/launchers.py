"""The contract of launchers, and their registry: they start the workers of a submission, find them again, and end them.

A launcher is chosen by ``--executor NAME`` and configured by ``--NAME.KEY=VALUE``. It hands every share of a submission to
something that runs :func:`share_command`; all that the workers do then lies in files of the run folder, which decide. Beyond
them a launcher can tell whether a job waits, runs, or is gone. No torch.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from bench.launch.supervisor import pythonpath
from bench.planning.plan import Plan
from bench.runfolder import shield
from bench.runfolder.submission import Execution, Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError, nearest
from flowbench._core.registry import Registry, blame

if TYPE_CHECKING:
    from bench.launch.pool import Pool

PROCESS = 4e8
"""Bytes of a worker that has loaded torch, and nothing else."""
DEFAULT = "local"
"""The launcher of a command that names none."""
OPTION = re.compile(r"--([A-Za-z][\w/-]*)\.([^=]+)(?:=(.*))?", re.DOTALL)
"""``--NAME.KEY=VALUE``."""
Pairs = list[tuple[str, str]]
"""Keys and values of a launcher's options."""


@dataclass(frozen=True)
class Job:
    """Shares that run as one job; with several, the task at position k of an array runs share ``shares[k]``."""

    job: str
    shares: tuple[int, ...]

    def task(self, share: int) -> str:
        """The id of the task that runs a share: ``123_4`` of an array, else ``123``."""
        return self.job if len(self.shares) == 1 else f"{self.job}_{self.shares.index(share)}"


@dataclass(frozen=True)
class Submitted:
    """The jobs that were begun or queued, and why the others were refused, if so."""

    jobs: tuple[Job, ...]
    refused: str | None = None

    @property
    def workers(self) -> int:
        """How many shares they have."""
        return sum(len(job.shares) for job in self.jobs)


@dataclass(frozen=True)
class Seen:
    """A share as its launcher sees it: it waits for ``reason``, its process runs on ``node``, or it is gone."""

    state: Literal["queued", "running", "gone"]
    reason: str = ""
    node: str = ""
    job: str = ""


@dataclass(frozen=True)
class Given:
    """Bytes for the training steps of a worker, None if unknown before it runs; ``where``, in words, and what to do if they
    are too few. ``process``: the whole process must fit in, too. ``replicas`` share it."""

    amount: float | None
    where: str
    advice: str = ""
    gpu: bool = False
    process: bool = False
    replicas: int = 1


class Launcher(ABC):
    """Starts the workers of submissions somewhere, and finds them again.

    Only :meth:`submit` and :meth:`states` have to be written; the defaults of the others suit processes that run
    :func:`share_command`. Facts about it are declared, so that nothing else depends on its name.
    """

    name: str = ""
    """In the registry."""
    title: ClassVar[str] = "the launcher"
    """In sentences: where its jobs go."""
    drives: ClassVar[bool] = False
    """Whether the command itself runs the workers until they end, by a pool, or leaves them once they are submitted."""
    here: ClassVar[bool] = False
    """Whether workers compute on this machine, with its devices and their speed."""
    lost: ClassVar[str] = "nothing runs it any more, and it left no result"
    """The reason of a share that ended without a result, in a sentence."""
    hints: ClassVar[Mapping[str, str]] = {}
    """What to do about reasons and endings, by their first words; ``JOB`` stands for the job."""

    def configured(self, pairs: Pairs) -> Launcher:
        """The launcher with the user's ``--NAME.KEY=VALUE``. Raises :class:`UserError`."""
        raise UserError(f"--{self.name}.{pairs[0][0]}: --executor {self.name} has no options")

    def accept(self, execution: Execution) -> Execution:
        """How its workers run, such as on which device if that is ``auto``. Raises :class:`UserError` for what cannot be."""
        if execution.slots is not None and not self.drives:
            raise UserError(f"--slots is for --executor {DEFAULT}")
        return execution

    def check(self, plan: Plan, execution: Execution) -> None:
        """Raise :class:`UserError` for what would stop a run, before anything is written; also in a dry run."""
        return

    def reach(self) -> None:
        """Raise :class:`UserError` if nothing can be submitted from here now."""
        return

    def slots(self, execution: Execution) -> int | None:
        """How many workers divide the cells; None for one worker for each group of cells that can train in one graph."""
        return None

    def memory(self, execution: Execution) -> Given:
        """The memory for the training steps of a worker."""
        unknown = "how much memory a worker is given is not known here"
        return Given(None, unknown, gpu=execution.device not in ("cpu", "auto"))

    def describe(self, execution: Execution, workers: int, shown: str) -> str:
        """How workers would be started, for a dry run; ``shown`` is their number in words."""
        return shown

    @abstractmethod
    def submit(self, submission: Submission) -> Submitted:
        """Begin or queue all shares; those with ``canary`` first, the others wait for them. Write every job down as soon as
        it exists (:func:`write_jobs`).

        Raises:
            UserError: nothing was begun, for this reason.
        """

    def doubtful(self, submission: Submission) -> bool:
        """Whether a share of a submission that failed may run all the same."""
        return bool(self.jobs(submission))

    def recover(self, submission: Submission) -> None:
        """Put in order the jobs of a command that died while it submitted. The caller holds the run's lock."""
        return

    def jobs(self, submission: Submission) -> Mapping[int, str]:
        """The ids of the shares that it took."""
        return {share: job.task(share) for job in read_jobs(submission) or () for share in job.shares}

    @abstractmethod
    def states(self, submission: Submission) -> Mapping[int, Seen]:
        """Where each share is that was taken. Raises :class:`UserError` if a server must be asked, and does not answer."""

    def survey(self, submissions: Sequence[Submission]) -> list[Mapping[int, Seen]]:
        """The :meth:`states` of several submissions, for launchers that ask a server once for all."""
        return [self.states(submission) for submission in submissions]

    def explain(self, jobs: Sequence[str]) -> Mapping[str, str]:
        """How jobs ended, beyond what files hold; ``CANCELLED ...`` for a cancelled one. Unknown ones are left out."""
        return {}

    def cancel(self, submission: Submission) -> None:
        """End all jobs of a submission marked as cancelled; :func:`share_command` sees the mark. Raises UserError."""
        return

    def outputs(self, submission: Submission, share: int, job: str) -> list[Path]:
        """Files with the output of a share's job outside its worker."""
        return [output(submission, share)]

    def pool(self, submission: Submission) -> Pool:
        """The pool that runs the workers, of a launcher that drives them."""
        raise NotImplementedError(f"{type(self).__name__} declares drives, and has no pool")


registry: Registry[Launcher] = Registry("launcher")


def register(name: str) -> Callable[[Callable[..., Launcher]], Callable[..., Launcher]]:
    """Decorator that adds a launcher: ``@register("mine")`` on a function without parameters that returns it."""
    return registry.register(name)


def get(name: str, pairs: Pairs | None = None) -> Launcher:
    """The launcher of that name, with its ``--NAME.KEY=VALUE``. Raises :class:`UserError`."""
    if (entry := registry.find(name)) is None:
        raise UserError(f"--executor {name!r}: {nearest(name, registry.names())}")
    with blame(f"launcher {name!r}"):
        made = entry.function()
    made.name = name
    if pairs:
        made = made.configured(pairs)
    made.name = name
    return made


def of(submission: Submission) -> Launcher:
    """The launcher of a submission. Raises :class:`UserError` if it is a plugin's that is not loaded."""
    name = submission.execution.executor
    if registry.find(name) is None:
        raise UserError(
            f"{submission.folder} was begun with --executor {name}, which no --plugin here adds: name its file"
        )
    return get(name)


def take(arguments: Sequence[str]) -> tuple[dict[str, Pairs], list[str]]:
    """Split a command line into the ``--NAME.KEY=VALUE`` or ``--NAME.KEY VALUE`` pairs by NAME, and the rest.

    A key without a value has the value ``""``, which is ``true`` for a flag.
    """
    pairs: dict[str, Pairs] = {}
    rest, left = [], list(arguments)
    while left:
        word = left.pop(0)
        if not (match := OPTION.fullmatch(word)):
            rest.append(word)
            continue
        name, key, value = match.groups()
        if value is None:
            value = left.pop(0) if left and not left[0].startswith("-") else ""
        pairs.setdefault(name, []).append((key, value))
    return pairs, rest


def read_jobs(submission: Submission) -> list[Job] | None:
    """The jobs of a submission that were written down; None if there is no such file."""
    file = submission.folder / "jobs.json"
    if not file.exists():
        return None
    return [Job(a["job"], tuple(a["shares"])) for a in atomic.read_object(file)["arrays"]]


def write_jobs(submission: Submission, jobs: Sequence[Job]) -> None:
    """Write down all jobs of a submission so far."""
    atomic.write_json(submission.folder / "jobs.json", {"arrays": [asdict(job) for job in jobs]})


def share_command(submission: Submission, share: int) -> list[str]:
    """The command that brings a share to its end, on any machine that sees the run folder and this Python.

    It runs the code that was submitted, once that is verified; it saves and ends after SIGTERM, SIGINT or SIGHUP, and when
    the submission is cancelled. Its output belongs into :func:`output`.
    """
    own = output(submission, share).parent
    own.mkdir(mode=0o700, exist_ok=True)  # only its owner may enter
    environment = pythonpath(submission.code_folder.absolute())
    run = [sys.executable, "-m", "bench.launch.share", str(share), os.getcwd(), str(own.absolute())]
    return ["env", *(f"{name}={value}" for name, value in environment.items()), *shielded(submission), *run]


def shielded(submission: Submission) -> list[str]:
    """The beginning of a command that verifies the submitted code, then becomes the rest (:mod:`bench.runfolder.shield`)."""
    trusted = "trusted" if submission.execution.trusted else "checked"
    run = [str(submission.out.absolute()), trusted, submission.code]
    return [sys.executable, "-I", "-S", "-c", inspect.getsource(shield), *run]


def output(submission: Submission, share: int) -> Path:
    """Where a share's job prints, but for its worker."""
    return submission.folder / "launch" / f"{share:04}.log"
