"""Verifies a snapshot of the code, then becomes a command: ``python -I -S -c TEXT FOLDER TRUSTED CODE COMMAND...``.

Code must not run before it is checked, so this file is handed to Python as text, and needs nothing but Python itself. A
snapshot is named by the digest of its content; unless the user trusts the run folder, no other user may own or be able to
change the snapshot or the folders above it. The last argument is the launcher's own folder, such as submitit's, from which a
pickle is read: no other user may own or change that either.

Slurm's warning (USR2, TERM) may come while Python still starts, and would end it. Blocked signals stay pending across
``exec``; :mod:`bench.launch.supervisor` unblocks them once its handlers are there.
"""

import hashlib
import os
import pwd
import signal
import stat
import sys
from collections.abc import Iterable


def unsafe(path: str) -> str | None:
    """Why another user could change ``path``, if so. Root does not count."""
    for found in (os.lstat(path), os.stat(path)):  # a link, and where it leads
        if found.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to {user(found.st_uid)}"
    mode = stat.S_IMODE(found.st_mode)
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{path} can be written by others (mode {mode:o})"
    return None


def user(number: int) -> str:
    """A user's name, or number."""
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"


def digest(named: Iterable[tuple[str, str]]) -> str:
    """32 hexadecimal digits of sha256 over names and contents of files, in the order of the names."""
    found = hashlib.sha256()
    for name, path in sorted(named):
        with open(path, "rb") as file:
            found.update(f"{name}\0{hashlib.sha256(file.read()).hexdigest()}\n".encode())
    return found.hexdigest()[:32]


def refusal(out: str, code: str, trusted: bool) -> str | None:
    """Why the snapshot ``code`` of the run folder ``out`` is not to be run, or None if it is as it was submitted."""
    place = os.path.join(out, "code", code)
    folders, files = [out, os.path.dirname(place), place], []
    try:
        for above, names, others in os.walk(place):
            folders += [os.path.join(above, name) for name in names]
            files += [os.path.join(above, name) for name in others]
        regular = not any(os.path.islink(path) for path in folders[2:]) and all(
            stat.S_ISREG(os.lstat(path).st_mode) for path in files
        )
        if not regular or digest((os.path.relpath(path, place), path) for path in files) != code:
            return f"{place} has been changed since it was submitted: delete that folder, and run the command again"
        why = None if trusted else next(filter(None, map(unsafe, folders + files)), None)
        return why and f"{why}: no code is run from it; name another --out, or see --trust-folder"
    except OSError as error:
        return f"{error.filename or place}: {error.strerror}"


def main() -> None:
    """Check the snapshot, block the signals, become the command."""
    out, trusted, code, *command = sys.argv[1:]
    why = refusal(out, code, trusted == "trusted")
    if why is None and (danger := unsafe(command[-1])):
        why = f"{danger}: nothing is run from it"
    if why:
        sys.exit(why)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
