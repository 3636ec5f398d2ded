"""The command that starts a worker on Slurm: signals wait for it, and nothing runs from another user's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.runfolder import shield

Command = Callable[..., list[str]]

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
    """Submitit's."""
    made = tmp_path / "slurm"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run folder with a snapshot of one file."""
    file = tmp_path / "run" / "code" / "new" / "bench" / "it.py"
    file.parent.mkdir(parents=True)
    file.write_text("x = 1")
    code = shield.digest([("bench/it.py", str(file))])
    (tmp_path / "run" / "code" / "new").rename(tmp_path / "run" / "code" / code)
    for path in (tmp_path / "run").rglob("*"):
        path.chmod(0o700)
    (tmp_path / "run").chmod(0o700)
    return tmp_path / "run"


@pytest.fixture
def shielded(folder: Path, out: Path) -> Command:
    """A command behind the shield, which is handed to Python as text."""
    (code,) = (out / "code").iterdir()
    text = Path(shield.__file__).read_text()

    def make(*command: str, trusted: str = "checked") -> list[str]:
        return [sys.executable, "-I", "-S", "-c", text, str(out), trusted, code.name, *command, str(folder)]

    return make


def test_signals_wait_until_the_command_is_ready(shielded: Command) -> None:
    """They stay blocked and pending across exec, and come once they are unblocked."""
    command = shielded(sys.executable, "-I", "-S", "-c", READY)
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


def test_it_becomes_the_command(shielded: Command, folder: Path) -> None:
    """Its process, its arguments, its exit code."""
    code = "import os, sys; print(os.getpid(), sys.argv[1:]); sys.exit(7)"
    command = shielded(sys.executable, "-c", code, "a b")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.read() == f"{process.pid} {['a b', str(folder)]}\n"
    assert process.returncode == 7


def refused(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(mode: int, shielded: Command, folder: Path) -> None:
    folder.chmod(mode)
    assert refused(shielded("/bin/echo")).endswith(
        f"can be written by others (mode {mode:o}): nothing is run from it\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("part", ["slurm", "run", "run/code", "run/code/*/bench/it.py"])
def test_what_belongs_to_another_user_is_refused(part: str, shielded: Command, tmp_path: Path) -> None:
    (path,) = tmp_path.glob(part)
    os.chown(path, 12345, -1)
    assert "belongs to user 12345" in refused(shielded("/bin/echo"))


@pytest.mark.parametrize("part", ["run", "run/code", "run/code/*", "run/code/*/bench/it.py"])
def test_code_that_others_can_write_is_run_only_if_they_are_trusted(
    part: str, shielded: Command, tmp_path: Path
) -> None:
    (path,) = tmp_path.glob(part)
    path.chmod(0o777)
    assert f"{path} can be written by others (mode 777): no code is run from it" in refused(
        shielded("/bin/echo")
    )
    assert subprocess.run(shielded("/bin/true", trusted="trusted"), check=False).returncode == 0


@pytest.mark.parametrize("trusted", ["checked", "trusted"])
def test_code_that_was_changed_is_refused_whatever_users_are_trusted(
    trusted: str, shielded: Command, out: Path
) -> None:
    (file,) = out.glob("code/*/bench/it.py")
    file.write_text("x = 2")
    assert "has been changed since it was submitted" in refused(shielded("/bin/echo", trusted=trusted))
