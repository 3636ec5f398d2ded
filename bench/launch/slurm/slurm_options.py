"""What the user gives as ``--slurm.KEY=VALUE``: every option of submitit's Slurm executor, and every one of sbatch's.

submitit's own signature has the keys and their types; any other key is one of those that
``sbatch --help`` lists, and goes through submitit's ``additional_parameters``. Dashes and underscores are the same.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from bench.launch.slurm import queue
from flowbench._core.errors import UserError, nearest
from flowbench._core.terminal import many

PREFIX = "--slurm."
ALIASES = {"gpus": "gpus_per_node"}
TRUE, FALSE = ("", "true", "yes", "on", "1"), ("false", "no", "off", "0")
DEFAULTS: Mapping[str, Any] = {
    "time": 240,
    "signal_delay_s": 120,
    "array_parallelism": 256,
    "wckey": None,
}
"""Of every worker. No wckey is sent unless asked for: some clusters refuse jobs with an unknown one."""
CPUS = 8
"""Of a worker with a GPU: at most what a GPU's share of its node is nearly everywhere. Without one there is no such
measure, so the cluster's own default stands."""
OTHER_LIMIT = 60
"""Seconds that a worker needs at least before its warning comes."""

ALONE = "a worker has one task on each of its nodes, which starts all replicas there: --replicas gives their number"
OWN = "it changes what sbatch itself does, not how a worker runs"
LOGS = "the workers' output is kept in the run folder"
REFUSED: Mapping[str, str] = {
    "additional_parameters": "name sbatch's option itself, for example --slurm.reservation=NAME",
    "num_gpus": "it is --slurm.gpus=N",
    "array": "the arrays are made from the grid; --slurm.array-parallelism=N limits the workers that run at once",
    "job_name": "the jobs are found again by their name",
    "output": LOGS,
    "error": LOGS,
    "input": "a worker reads nothing from its standard input",
    "open_mode": "a requeued worker continues the same log",
    "signal": "--slurm.signal-delay-s=SECONDS is the time between the warning of a worker and its end",
    "requeue": "workers are always requeued, and continue from their checkpoints",
    "no_requeue": "workers are always requeued, and continue from their checkpoints",
    "clusters": "only the default cluster is asked how the jobs are",
    "chdir": "the paths of a grid are relative to the folder where the command runs: run it there",
    **dict.fromkeys(("wrap", "wait", "parsable", "quiet", "test_only", "help", "usage", "version"), OWN),
}
"""Options that would be ignored or break something, and why."""
GPU_KEYS = ("gpus_per_node", "gpus_per_task")
ONE = ("ntasks", "ntasks_per_node", "ntasks_per_gpu")


@dataclass(frozen=True)
class SlurmOptions:
    """What the user gave: ``given`` by submitit's names, ``extra`` by sbatch's."""

    given: Mapping[str, Any]
    extra: Mapping[str, Any]

    def __getitem__(self, key: str) -> int:
        """A number of :data:`DEFAULTS`: the minutes of a worker, the seconds before their end at which it is warned, or how
        many workers run at once."""
        return int(self.given.get(key, DEFAULTS[key]))

    @property
    def gpus(self) -> bool | None:
        """Whether GPUs are asked for; None if they are not mentioned."""
        for key in GPU_KEYS:
            if key in self.given:
                return gpu_number(self.given[key]) > 0
        named = [str(self.given.get("gres", "")), *self.extra, *(str(v) for v in self.extra.values())]
        return True if any("gpu" in text for text in named) else None

    def replicas_each(self, replicas: int) -> int:
        """The replicas of a worker on each of its nodes. Raises :class:`UserError` if they do not divide among these."""
        nodes = int(self.given.get("nodes", 1))
        if replicas % nodes:
            raise UserError(
                f"{PREFIX}nodes={nodes}: a worker of {many(replicas, 'replica')} does not divide among so many nodes: "
                f"choose a --replicas that does, such as {nodes}"
            )
        return replicas // nodes

    def parameters(self, device: str, replicas: int = 1) -> dict[str, Any]:
        """The parameters of submitit's executor for a worker whose replicas compute on ``device``.

        One GPU for each of them unless the device is the CPU or the user named what to allocate, and eight cores with it.
        """
        each = self.replicas_each(replicas)
        asked = {gpu_number(self.given[key]) for key in GPU_KEYS if key in self.given}
        if device != "cpu" and asked - {0, each}:
            raise UserError(
                f"{PREFIX}gpus: a worker uses {many(each, 'GPU')} on a node, one a replica: ask for {each}"
            )
        chosen = {**DEFAULTS, **self.given, "additional_parameters": {**self.extra, "requeue": True}}
        if each < replicas:
            chosen["ntasks_per_node"] = 1
        gpus = self.gpus
        if gpus is None and device != "cpu":
            chosen["gpus_per_task" if "cpus_per_gpu" in chosen else "gpus_per_node"] = each
            gpus = True
        if gpus and not {"cpus_per_task", "cpus_per_gpu"} & set(chosen):
            chosen["cpus_per_task"] = CPUS * each
        return chosen


def parse(pairs: Sequence[tuple[str, str]]) -> SlurmOptions:
    """Read ``(KEY, VALUE)`` pairs; of a repeated key the last counts, of a list all. Raises :class:`UserError`."""
    given: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for word, text in pairs:
        key = word.replace("-", "_")
        key = ALIASES.get(key, key)
        try:
            _read(key, text, given, extra)
        except ValueError as error:
            shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in f"{word}={text}".rstrip("="))
            raise UserError(f"{PREFIX}{shown}: {error}") from None
    made = SlurmOptions(given, extra)
    warning, time = made["signal_delay_s"], made["time"]
    if warning < OTHER_LIMIT:
        raise UserError(
            f"{PREFIX}signal-delay-s is {warning}: workers need {OTHER_LIMIT} s to save, choose at least {OTHER_LIMIT}"
        )
    if time * 60 <= warning + OTHER_LIMIT:
        raise UserError(
            f"{PREFIX}time is {time} min, and workers are warned {warning} s before it ends: give them "
            f"more than {(warning + OTHER_LIMIT) // 60} min, or a shorter {PREFIX}signal-delay-s"
        )
    return made


def _read(key: str, text: str, given: dict[str, Any], extra: dict[str, Any]) -> None:
    """Put one value where it belongs. Raises :class:`ValueError`."""
    if key in REFUSED:
        raise ValueError(REFUSED[key])
    if key in ONE and text != "1":
        raise ValueError(ALONE)
    if key not in ("setup", "teardown") and any(ord(c) < 32 for c in text):
        raise ValueError("control characters cannot be sent to sbatch")
    kinds = submitit_kinds()
    if key not in kinds:
        _put(extra, key.replace("_", "-"), sbatch_kind(key)(text))
    elif isinstance(value := kinds[key](text), list):
        given[key] = [*given.get(key, ()), *value]
    else:
        _put(given, key, value)
    if given.get("use_srun") is False:
        raise ValueError("Slurm's warnings reach only what srun has started")


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Remember a value; a flag that is off is one that is not sent."""
    values.pop(key, None)
    if value is not False or key == "use_srun":
        values[key] = value


@functools.cache
def submitit_kinds() -> dict[str, Callable[[str], Any]]:
    """How each parameter of submitit's Slurm executor is read, by its annotation."""
    from submitit.slurm import slurm

    hints = get_type_hints(slurm._make_sbatch_string)
    own: dict[str, Callable[[str], Any]] = {
        "time": minutes,
        "gpus_per_node": gpu_count,
        "gpus_per_task": gpu_count,
        "srun_args": shlex.split,
    }
    return {name: own.get(name) or _kind(hints[name]) for name in slurm.SlurmExecutor._valid_parameters()}


def _kind(hint: Any) -> Callable[[str], Any]:
    """The reader of one annotation."""
    kinds = set(get_args(hint)) - {type(None)} or {hint}
    if int in kinds:
        return count
    if bool in kinds:
        return flag_or_text if str in kinds else flag
    return some_text if str in kinds else lambda text: [text]


def sbatch_kind(key: str) -> Callable[[str], Any]:
    """The reader of an option that is sbatch's only. Raises :class:`ValueError` if there is no such option."""
    known = sbatch_options()
    if key not in known:
        choices = [*submitit_kinds(), *ALIASES, *known]
        choices = sorted(c.replace("_", "-") for c in {*choices} - {*REFUSED})
        unasked = "" if known else " (sbatch cannot be asked for more here)"
        raise ValueError(f"no option of Slurm, {nearest(key.replace('_', '-'), choices)}{unasked}")
    return some_text if known[key] else flag_or_text


@functools.cache
def sbatch_options() -> dict[str, bool]:
    """The long options that ``sbatch --help`` lists here, and whether they need a value; empty without sbatch."""
    try:
        text = queue.run(["sbatch", "--help"])
    except UserError:
        return {}
    found = re.findall(r"^ {1,8}(?:-\w,? +)?--([a-z][a-z-]*)(=?)", text, re.MULTILINE)
    return {name.replace("-", "_"): equals == "=" for name, equals in found}


def count(text: str) -> int:
    """A whole number greater than 0."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError("a whole number greater than 0 is needed")
    return int(text)


def gpu_count(text: str) -> int | str:
    """``2``, ``a100:1``, or ``0``."""
    if not re.fullmatch(r"([\w.-]+:)?\d+", text, re.ASCII):
        raise ValueError("a number of GPUs is needed, for example 1 or a100:1")
    return int(text) if text.isdigit() else text


def some_text(text: str) -> str:
    """Anything but nothing."""
    if not text:
        raise ValueError("a value is needed")
    return text


def gpu_number(given: Any) -> int:
    """``a100:2`` is two; what is no number is one."""
    last = str(given).rpartition(":")[2]
    return int(last) if last.isdigit() else 1


def flag(text: str) -> bool:
    """True or false."""
    if text.lower() not in TRUE + FALSE:
        raise ValueError("true or false is needed")
    return text.lower() in TRUE


def flag_or_text(text: str) -> bool | str:
    """True, false, or a value of an option that can also stand alone; ``0`` and ``1`` are values."""
    return text if text.isdigit() or text.lower() not in TRUE + FALSE else flag(text)


def minutes(text: str) -> int:
    """A time as sbatch reads it (:func:`bench.launch.slurm.queue.seconds`), rounded up to minutes."""
    if not (found := queue.seconds(text)):
        raise ValueError("minutes or [DAYS-]HOURS:MINUTES:SECONDS are needed, for example 240 or 1-12:00")
    return -(-found // 60)
