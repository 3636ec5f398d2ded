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
from bench.machine import places
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.submission import Submission

PAUSE = 1.0
"""Seconds between looks at what other processes write."""


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
) -> Supervisor:
    """The supervisor of a share as the main matter of this process; signals stop it for the reasons that they stand for."""
    # a node may have less than where it was submitted
    places.settle(lambda text: print(text, flush=True))
    made = Supervisor(submission, index, os.environ, restart, job)
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
    """Whether a canary must end first; one that is not heard of is not waited for."""
    if submission.shares[index].canary:
        return False
    canaries = [i for i, share in enumerate(submission.shares) if share.canary]
    return any(
        lease.state(submission, i).get("state", "running") == "running"
        and min(lease.silence(submission.folder, i), lease.age(submission.folder / "submission.json"))
        < lease.SILENT_SECONDS
        for i in canaries
    )


if __name__ == "__main__":
    sys.exit(main())
