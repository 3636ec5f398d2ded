"""The checks of every launcher: workers that train nothing are submitted, followed to an end, cancelled, and explained."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.config.experiment import Grid
from bench.launch import activities, launchers, snapshot
from bench.launch.activities import Activity
from bench.launch.launchers import Launcher
from bench.launch.supervisor import last_lines
from bench.planning import plan
from bench.runfolder import store
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Execution, Share, Submission
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.registry import blame

PATIENCE = 60.0
"""Seconds until a share has to reach a state: a queue may be long."""
WORKER = '''"""Loaded by a worker, this is all that it does: share 0 is settled after a moment, others wait to be stopped."""
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
parent, until = os.getppid(), time.monotonic() + (1 if sys.argv[2] == "0" else 600)
while time.monotonic() < until and os.getppid() == parent:
    time.sleep(0.1)
os._exit(0)
'''


def check(name: str) -> list[str]:
    """A line for each check that a launcher has passed. Raises :class:`UserError` for the first that it has not.

    The run folder lies in the present one meanwhile: on a cluster that must be one that its nodes see.
    """
    launcher = launchers.get(name)
    out = Path(tempfile.mkdtemp(prefix="flowbench-check-", dir=Path.cwd()))
    try:
        with blame(f"launcher {name!r}"):
            return list(passed(launcher, out))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def passed(launcher: Launcher, out: Path) -> Iterator[str]:
    """A line after each check."""
    execution = launcher.accept(Execution(launcher.name, "cpu", compile="off"))
    planned = plan.make(Grid(formulations=("rf",), seeds=2), out)
    launcher.check(planned, execution)
    launcher.reach()
    yield "check: nothing stops it"
    submission = submitted(planned, execution)
    try:
        taken = launcher.submit(submission)
        jobs = launcher.jobs(submission)
        if launcher.drives:
            pool = launcher.pool(submission)
            threading.Thread(target=pool.run, args=(lambda: None,), daemon=True).start()
        elif taken.workers != 2 or len({*jobs.values()}) != 2:
            raise UserError(f"of 2 shares {taken.workers} were submitted, and jobs() names {dict(jobs)}")
        yield f"submit: 2 shares{', as jobs ' if jobs else ''}{' and '.join(jobs.values())}"
        found = wait(launcher, submission, 0, lambda d: not d.active)
        if found.ending != "settled":
            raise UserError(
                f"a share whose worker settled is {found.ending or 'never begun'}: {found.reason}"
            )
        wait(launcher, submission, 1, lambda d: d.state == "running" and d.ending == "running")
        yield "states: a share that settles is gone then, and one that continues runs"
    finally:
        atomic.write_text(submission.folder / "cancelled", "")
        launcher.cancel(submission)
        found = wait(launcher, submission, 1, lambda d: not d.active)
    yield f"cancel: the other share ended, {found.ending}"
    endings = launcher.explain(sorted(jobs.values()))
    if strange := endings.keys() - {*jobs.values()}:
        raise UserError(f"explain() names {min(strange)}, which it was not asked for")
    yield f"explain: {', '.join(f'{job} {how}' for job, how in endings.items()) or 'nothing beyond the files'}"


def submitted(planned: plan.Plan, execution: Execution) -> Submission:
    """A written submission of two shares, whose workers train nothing."""
    out = planned.out
    store.prepare(out, 0o700)
    worker = out / "worker.py"
    atomic.write_text(worker, WORKER)
    code, plugins = snapshot.take(out, [worker])
    shares = [Share((p.cell.id,)) for p in planned.cells]
    made = submissions.new(out, planned.grid, execution, shares, code, plugins, ("check",))
    submissions.write(made)
    return made


def wait(
    launcher: Launcher, submission: Submission, index: int, there: Callable[[Activity], bool]
) -> Activity:
    """A share once it is ``there``. Raises :class:`UserError` if it does not get there."""
    until = time.monotonic() + PATIENCE
    while True:
        (seen,) = launcher.survey([submission])
        found = activities.of_submission(submission, seen)[index]
        if there(found):
            return found
        if not found.active or time.monotonic() > until:
            files = [submission.log_file(index), *launcher.outputs(submission, index, found.job)]
            printed = " ".join(line for file in files for line in last_lines(file, 3).splitlines())
            where = f"{found.state} {found.ending}".strip()
            why = found.reason or "for no known reason"
            raise UserError(f"share {index} is {where}, {why}; {printed or 'no output'}")
        time.sleep(0.3)
