"""``python -m bench.launch.share SHARE FOLDER SUBMISSION/launch``: the supervisor of one share, as launchers start it.

FOLDER is where the command was run. No torch.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from bench.launch.supervisor import Supervisor
from bench.machine import writable_folders
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Submission

PAUSE = 1.0
"""Seconds between looks at the files of other processes."""


def main() -> int:
    """Bring the share to its end; returns the exit code, 0 if it is settled or another has it."""
    index, submission = int(sys.argv[1]), submissions.read(Path(sys.argv[3]).parent)
    os.chdir(sys.argv[2])
    signals = {number: number.name for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    supervisor = supervised(submission, index, signals)
    threading.Thread(target=watch_cancelled, args=(supervisor,), daemon=True).start()
    while supervisor.stopping is None and waits(submission, index):
        time.sleep(PAUSE)
    ending = supervisor.run()
    if supervisor.failure:
        print(f"{ending}: {supervisor.failure.message}", flush=True)
    return 0 if ending in ("settled", "fenced") else 1


def supervised(
    submission: Submission,
    index: int,
    signals: Mapping[signal.Signals, str],
    restart: int = 0,
    job: str | None = None,
    ranks: range | None = None,
) -> Supervisor:
    """The supervisor of a share, or of the replicas ``ranks`` of its worker, for the main thread of this process; each of
    ``signals`` stops it for the reason given."""
    writable_folders.settle(
        lambda text: print(text, flush=True)
    )  # the submitting machine may have had others
    made = Supervisor(submission, index, os.environ, restart, job, ranks)
    for number, why in signals.items():
        signal.signal(number, lambda *_, why=why: made.stop(why))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    return made


def watch_cancelled(supervisor: Supervisor) -> None:
    """Stop the supervisor once its submission is marked."""
    while not supervisor.submission.cancelled:
        time.sleep(PAUSE)
    supervisor.stop("cancelled")


def waits(submission: Submission, index: int) -> bool:
    """Whether a canary must end first; a silent one is not waited for."""
    age = lease.age(submission.folder / "submission.json")
    return not submission.shares[index].canary and any(
        lease.state(submission, i).get("state", "running") == "running"
        and min(lease.silence(submission.folder, i), age) < lease.SILENT_SECONDS
        for i, share in enumerate(submission.shares)
        if share.canary
    )


if __name__ == "__main__":
    sys.exit(main())
