"""Runs a command whose signals wait until it is ready for them: ``python -I -S shield.py COMMAND...``.

Slurm's warning (USR2, TERM) may come while Python still starts, and would end it. Blocked signals stay pending across
``exec``; :mod:`bench.launch.supervisor` unblocks them once its handlers are there. And nothing is unpickled from a folder
that somebody else owns or can write to: the last argument is submitit's folder. Needs nothing but Python itself.
"""

import os
import signal
import stat
import sys


def main() -> None:
    """Check the folder, block the signals, become the command."""
    found = os.stat(sys.argv[-1])
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        sys.exit(
            f"{sys.argv[-1]} belongs to somebody else or can be written by others: nothing is run from it"
        )
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
