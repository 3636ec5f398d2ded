"""Two users of one machine: nothing of the other's is run, and nothing of mine is overwritten through the other's folder."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.runs import synthetic
from bench.runfolder import store, trust
from flowbench._core import atomic
from flowbench._core.errors import UserError

from ... import users
from ...users import ME, OTHER

SMOKE = ["-m", "bench.grid", "--preset", "smoke", "--device", "cpu", "--out"]


@pytest.fixture(scope="module")
def machine() -> Iterator[Path]:
    with users.machine() as found:
        yield found


@pytest.fixture
def theirs(machine: Path) -> Iterator[Path]:
    """A run folder of the other's, open to all, in which the lock leads to a file of mine."""
    folder = machine / "run"
    mine = machine / "me" / "thesis.tex"
    mine.write_text("years of work")
    os.chown(mine, ME, ME)
    plant = f"""if True:
        import os
        from pathlib import Path
        os.umask(0)
        out = Path({str(folder)!r})
        (out / "code").mkdir()
        (out / "grid.json").write_text("{{}}")
        (out / ".lock").symlink_to({str(mine)!r})
    """
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    folder.chmod(0o777)
    done = users.run(OTHER, ["-c", plant], machine / "other")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("look", [[], ["--dry-run"], ["--cancel"]])
def test_a_run_folder_of_another_user_is_refused(look: list[str], machine: Path, theirs: Path) -> None:
    done = users.run(ME, [*SMOKE, str(theirs), *look], machine / "me")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --out: {theirs} belongs to user {OTHER}, so that another user's code could run: "
        f"name another folder, or add --trust-folder\n"
    )
    assert (machine / "me" / "thesis.tex").read_text() == "years of work"


def test_also_where_the_other_is_trusted_no_link_is_followed(machine: Path, theirs: Path) -> None:
    done = users.run(ME, [*SMOKE, str(theirs), "--trust-folder"], machine / "me")
    assert done.returncode == 2
    assert (
        done.stderr == f"error: {theirs}/.lock is a symbolic link, which flowbench does not make: delete it\n"
    )
    assert (machine / "me" / "thesis.tex").read_text() == "years of work"


def test_it_can_be_looked_at(machine: Path, theirs: Path) -> None:
    done = users.run(ME, [*SMOKE, str(theirs), "--status"], machine / "me")
    assert done.returncode == 0, done.stderr


WRITE = """if True:
    import os, sys
    from pathlib import Path
    from bench.runfolder import cell_folder, store
    from bench.config.experiment import Grid
    from bench.launch import snapshot, supervisor
    from bench.runfolder import submission as submissions
    from bench.runfolder.submission import Execution, Share
    from flowbench._core import atomic
    os.umask(0)
    out = Path(sys.argv[1])
    store.prepare(out, 0o700)
    store.lock(out).close()
    code, plugins = snapshot.take(out, [], trusted=True)
    made = submissions.new(out, Grid(), Execution(), [Share(("a",))], code, plugins, [])
    submissions.write(made)
    supervisor.failed(made, "a", "cause")
    atomic.append(made.log_file(0)).close()
    atomic.folder(out / "cells" / "a")
    cell_folder.note(out / "cells" / "a", "something")
"""


@pytest.mark.parametrize("mode", [0o777, 0o2775, 0o755, 0o700])
def test_nothing_that_is_made_can_be_written_by_others(mode: int, machine: Path) -> None:
    """Whatever the umask and the folder allow; a user who may read the folder may read all of it."""
    out = machine / "me" / f"run-{mode:o}"
    out.mkdir()
    os.chown(out, ME, ME)
    out.chmod(mode)
    done = users.run(ME, ["-c", WRITE, str(out)], machine / "me")
    assert done.returncode == 0, done.stderr
    found = {path: path.stat() for path in out.rglob("*")}
    assert len(found) > 100
    for path, seen in found.items():
        most = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(seen.st_mode) & 0o777 == mode & most, path


def test_the_analysis_of_anothers_folder_runs_nothing_of_it_and_writes_nothing_through_it(
    machine: Path,
) -> None:
    """Also where everything in it has been prepared for that."""
    truth = synthetic.truth(("rf", "eps/linear", "v/cos"))
    folder = synthetic.write(
        machine / "synthetic", truth, seeds=2, weights=["ema"], settings=[(5, 1.0)], samples=8
    )
    mine = machine / "me" / "thesis.tex"
    mine.write_text("years of work")
    os.chown(mine, ME, ME)
    evil = f"open({str(machine / 'me' / 'taken')!r}, 'w').close()\n"
    for name in ("sitecustomize.py", "code/1/bench/__init__.py", "code/1/plugins/0-mine.py", "pandas.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(evil)
    (folder / "results.parquet").unlink(missing_ok=True)
    (folder / "results.parquet").symlink_to(mine)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o777)
    done = users.run(ME, ["-m", "analysis.rank", str(folder)], machine / "me")
    assert done.returncode == 0, done.stderr
    assert "formulation" in done.stdout
    assert not (machine / "me" / "taken").exists()
    assert mine.read_text() == "years of work"


def test_a_folder_of_mine_that_others_can_write_is_refused_with_the_command_that_closes_it(
    tmp_path: Path,
) -> None:
    out = tmp_path / "my run"
    out.mkdir()
    out.chmod(0o775)
    with pytest.raises(UserError, match=r"can be written by others \(mode 775\).*chmod go-w '.*my run'"):
        trust.check(out)
    out.chmod(0o755)
    trust.check(out)
    (out / "code").mkdir()
    (out / "code").chmod(0o777)
    with pytest.raises(UserError, match=r"my run/code can be written by others"):
        trust.check(out)


@pytest.mark.parametrize("readers", ["me", "group", "all"])
def test_a_folder_that_others_can_only_read_is_not_refused(readers: str, tmp_path: Path) -> None:
    from bench.runfolder.submission import MODES

    store.prepare(tmp_path / "run", MODES[readers])  # type: ignore[index]
    trust.check(tmp_path / "run")


def test_a_log_and_a_mark_follow_no_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "log.txt").symlink_to(tmp_path / "mine")
    for make in (atomic.append, atomic.mark):
        with pytest.raises(OSError, match="symbolic link"):
            make(tmp_path / "log.txt")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_runs_code_is_no_other_users(tmp_path: Path) -> None:
    file = tmp_path / "private" / "network.pt"
    file.parent.mkdir(mode=0o700)
    file.write_text("")
    file.chmod(0o600)
    trust.check_code(file)
    file.chmod(0o622)
    with pytest.raises(
        UserError, match=r"network\.pt holds code, and .* can be written by others \(mode 622\): copy"
    ):
        trust.check_code(file)
    file.chmod(0o600)
    file.parent.chmod(0o777)
    with pytest.raises(UserError, match=r"private can be written by others \(mode 777\)"):
        trust.check_code(file)
    file.parent.chmod(0o1777)  # as /tmp
    trust.check_code(file)
    if os.geteuid() == 0:
        os.chown(file, OTHER, OTHER)
        with pytest.raises(UserError, match=f"belongs to user {OTHER}"):
            trust.check_code(file)
