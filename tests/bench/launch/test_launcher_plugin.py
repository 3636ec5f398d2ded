"""A launcher in a file of the user's, as docs/plugins.md has it: run, looked at, ranked, cancelled, lost, and checked."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flowbench
from bench import grid, plugins
from bench.runfolder import lease

from ..runs import SMALL, run

PAGE = Path(flowbench.ROOT) / "docs" / "plugins.md"
LONG = [*SMALL, "--steps", "1000000", "--validations", "2"]


@pytest.fixture
def no_pauses() -> None:
    """Pauses are as long as they are: the jobs are processes that need them."""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    section = PAGE.read_text(encoding="utf-8").partition("## Add a launcher")[2]
    (text,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    file = tmp_path_factory.mktemp("launcher") / "my.py"
    file.write_text(text)
    return file


@pytest.fixture
def executor(plugin: Path, tmp_path: Path) -> Iterator[list[str]]:
    """The options that choose the launcher and a new run folder; its processes are ended after the test."""
    yield ["--plugin", str(plugin), "--executor", "detached", "--out", str(tmp_path / "run")]
    for number in pids(tmp_path / "run"):
        if alive(number):
            os.killpg(number, signal.SIGKILL)


def pids(out: Path) -> list[int]:
    """The jobs of a run folder, which are processes."""
    files = out.glob("submissions/*/jobs.json")
    return [int(job["job"]) for file in files for job in json.loads(file.read_text())["arrays"]]


def alive(number: int) -> bool:
    return Path(f"/proc/{number}").exists() and Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"


def until(there: Callable[[], object]) -> None:
    end = time.monotonic() + 240
    while not there():
        assert time.monotonic() < end
        time.sleep(0.2)


def begun(out: Path, executor: list[str]) -> int:
    """Start a training that lasts, and return the process of its job once it supervises a worker."""
    assert grid.main([*LONG, *executor]) == 0
    until(lambda: any(out.glob("submissions/*/share-*.json")))
    (number,) = pids(out)
    assert alive(number)
    return number


def test_a_run_is_started_looked_at_and_ranked_and_its_results_are_those_of_a_local_run(
    tmp_path: Path, executor: list[str]
) -> None:
    out = tmp_path / "run"
    started = run([*SMALL, *executor])
    (number,) = pids(out)
    assert (started.returncode, started.stdout.splitlines()[0]) == (
        0,
        f"submitted 2 cells as job {number} (1 worker)",
    )
    looked = run([*SMALL, *executor, "--status"])
    assert looked.returncode == 0
    assert f"  {number} " in looked.stdout or "2 done" in looked.stdout
    ranked = run([*SMALL, *executor, "--wait"])
    assert ranked.returncode == 0, ranked.stderr
    assert (out / "ranking.csv").exists()
    assert "2 done" in run([*SMALL, *executor, "--status"]).stdout
    assert run([*SMALL, "--out", str(tmp_path / "local")]).returncode == 0
    weights = {f.relative_to(out): f.read_bytes() for f in out.glob("cells/*/ema.safetensors")}
    assert len(weights) == 2
    assert all((tmp_path / "local" / name).read_bytes() == kept for name, kept in weights.items())


def test_it_is_cancelled_and_continued(
    tmp_path: Path, executor: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    number = begun(tmp_path / "run", executor)
    assert grid.main([*LONG, *executor]) == 0
    assert "nothing to submit: 2 running" in capsys.readouterr().err
    assert grid.main([*LONG, *executor, "--cancel"]) == 0
    assert "1 submission cancelled" in capsys.readouterr().out
    until(lambda: not alive(number))
    grid.main([*LONG, *executor, "--status"])
    said = capsys.readouterr().out
    assert "2 cells cancelled" in said
    assert "continues with 2 cells" in said


def test_what_is_killed_is_lost(
    tmp_path: Path, executor: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.launch.activities.FADING_SECONDS", 0.5)
    number = begun(tmp_path / "run", executor)
    os.kill(number, signal.SIGKILL)
    until(lambda: not alive(number))
    time.sleep(2 * lease.BEAT_SECONDS)
    assert grid.main([*LONG, *executor, "--status"]) == 1
    assert "2 cells lost: nothing runs it any more, and it left no result" in capsys.readouterr().out


def test_without_its_plugin_the_folder_says_what_is_lacking(
    tmp_path: Path, executor: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path / "run", executor)
    assert run([*LONG, "--out", str(tmp_path / "run"), "--status"]).stderr.endswith(
        "was begun with --executor detached, which no --plugin here adds: name its file\n"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--slots", "2"], "--slots is for --executor local"),
        (
            ["--minutes", "2"],
            "--minutes is for --executor local, as a queue keeps its own time: choose --seeds",
        ),
        (["--until", "decided"], "--until decided is for --executor local"),
        (["--detached.host=a"], "--detached.host: --executor detached has no options"),
        (["--slurm.time=3"], "--slurm.time needs --executor slurm"),
        (["--slurn.time=3"], "unknown option '--slurn.time'"),
        (["--executor", "detatched"], "--executor 'detatched': did you mean 'detached'"),
    ],
)
def test_what_it_does_not_take_is_one_sentence(
    options: list[str], sentence: str, executor: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grid.main([*SMALL, *executor, *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
    assert not (tmp_path / "run").exists()


def test_it_passes_the_check_of_launchers(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plugins.main(["check", str(plugin)]) == 0
    assert capsys.readouterr().out.startswith(
        "launcher detached: ok\n  check: nothing stops it\n  submit: 2 shares"
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"running" if there[job] else "gone"', '"gone"', "a share whose worker settled is lost"),
        ('"running" if there[job] else "gone"', '"running"', "is running"),
        ("write_jobs(submission, jobs)", "pass", "jobs() names {}"),
        ("os.kill(int(seen.job), signal.SIGTERM)", "1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_launcher_that_breaks_the_contract_fails_the_check(
    old: str,
    new: str,
    sentence: str,
    plugin: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bench.launch.check_launcher.PATIENCE", 15.0)
    file = tmp_path / "broken.py"
    file.write_text(plugin.read_text().replace(old, new).replace("detached", "broken"))
    assert plugins.main(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said
    assert said.count("\n") == 1
