"""The command that starts a worker on Slurm: signals wait for it, and nothing runs from a folder of somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.launch import shield

SHIELD = [sys.executable, "-I", "-S", str(Path(shield.__file__))]
READY = """
import os, signal, sys
numbers = [signal.SIGUSR2, signal.SIGTERM]
print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])) == sorted(numbers), flush=True)
input()
print(sorted(signal.sigpending()) == sorted(numbers), flush=True)
heard = []
for number in numbers:
    signal.signal(number, lambda n, _: heard.append(n))
signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
print(sorted(heard) == sorted(numbers))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "slurm"
    made.mkdir(mode=0o700)
    return made


def test_signals_wait_until_the_command_is_ready(folder: Path) -> None:
    """They stay blocked and pending across exec, and come once they are unblocked."""
    command = [*SHIELD, sys.executable, "-I", "-S", "-c", READY, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == "True\n"
        for number in (signal.SIGUSR2, signal.SIGTERM):
            process.send_signal(number)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.read() == "True\nTrue\n"
    assert process.returncode == 0


def test_it_becomes_the_command(folder: Path) -> None:
    """Its process, its arguments, its exit code."""
    code = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    command = [*SHIELD, sys.executable, "-c", code, "a b", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.read() == f"{process.pid} {['a b', str(folder)]}\n"
    assert process.returncode == 7


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(mode: int, folder: Path) -> None:
    folder.chmod(mode)
    done = subprocess.run([*SHIELD, "/bin/echo", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.endswith("can be written by others: nothing is run from it\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(folder: Path) -> None:
    os.chown(folder, 12345, -1)
    done = subprocess.run([*SHIELD, "/bin/echo", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "belongs to somebody else" in done.stderr
