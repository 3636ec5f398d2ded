"""Workers run a copy of the code and of the plugins; what is edited later changes nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.launch import snapshot, supervisor
from bench.runfolder import store
from bench.runfolder.submission import Submission
from flowbench._core.errors import UserError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small checkout that is copied instead of ours."""
    root = tmp_path / "checkout"
    for package in snapshot.PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "__init__.py").write_text("ANSWER = 1\n")
    (root / "bench" / "model.safetensors").write_bytes(b"\x00\x01")
    (root / "bench" / "__pycache__").mkdir()
    (root / "bench" / "__pycache__" / "x.pyc").touch()
    (root / "bench" / ".hidden").touch()
    monkeypatch.setattr(snapshot, "ROOT", root)
    return root


@pytest.fixture
def out(tmp_path: Path) -> Path:
    store.prepare(tmp_path / "run", 0o700)
    return tmp_path / "run"


def names(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_it_holds_the_packages_and_the_plugins_and_nothing_else(
    checkout: Path, out: Path, tmp_path: Path
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(folder)
    code, plugins = snapshot.take(out, [tmp_path / "one" / "mine.py", tmp_path / "two" / "mine.py"])
    assert plugins == ("0-mine.py", "1-mine.py")
    assert names(out / "code" / code) == {
        *(f"{package}/__init__.py" for package in snapshot.PACKAGES),
        "bench/model.safetensors",
        "plugins/0-mine.py",
        "plugins/1-mine.py",
    }
    assert (out / "code" / code / "plugins" / "1-mine.py").read_text() == "two"
    assert [p.name for p in (out / "code").iterdir()] == [code], "nothing half copied is left"


def test_the_same_content_is_copied_once(checkout: Path, out: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("x = 1")
    first = snapshot.take(out, [plugin])
    assert snapshot.take(out, [plugin]) == first
    plugin.write_text("x = 2")
    second = snapshot.take(out, [plugin])
    (checkout / "bench" / "__init__.py").write_text("ANSWER = 2\n")
    third = snapshot.take(out, [plugin])
    assert len({first[0], second[0], third[0], snapshot.take(out, [])[0]}) == 4


def test_an_edited_copy_is_refused_by_workers_and_by_the_next_command(
    checkout: Path, out: Path, submit: Callable[..., Submission], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("x = 1")
    made = submit(plugins=[tmp_path / "mine.py"])
    snapshot.verify(made)
    for name in ("bench/__init__.py", "plugins/0-mine.py"):
        file = made.code_folder / name
        kept = file.read_bytes()
        file.write_bytes(kept + b"\n")
        for check in (lambda: snapshot.verify(made), lambda: snapshot.take(out, [tmp_path / "mine.py"])):
            with pytest.raises(
                UserError, match=r"has been changed since it was submitted: delete that folder"
            ):
                check()
        file.write_bytes(kept)
    (made.code_folder / "samplers" / "__init__.py").unlink()
    with pytest.raises(UserError, match="has been changed"):
        snapshot.verify(made)


@pytest.mark.parametrize(
    "name",
    [
        "torch.py",
        "bench/__pycache__/__init__.cpython-311.pyc",
        "sitecustomize.py",
        ".hidden/x",
        "bench/new.pyc",
    ],
)
def test_nothing_can_be_added_to_a_copy(name: str, checkout: Path, submit: Callable[..., Submission]) -> None:
    """What Python would import instead of what is verified."""
    made = submit()
    file = made.code_folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"")
    with pytest.raises(UserError, match="has been changed"):
        snapshot.verify(made)


def test_a_link_in_a_copy_is_a_change(
    checkout: Path, submit: Callable[..., Submission], tmp_path: Path
) -> None:
    """Its content could be another later; so could that of a linked folder."""
    made = submit()
    for place in (made.code_folder / "bench" / "__init__.py", made.code_folder / "samplers"):
        moved = tmp_path / "moved"
        place.rename(moved)
        place.symlink_to(moved)
        with pytest.raises(UserError, match="has been changed"):
            snapshot.verify(made)
        place.unlink()
        moved.rename(place)
    snapshot.verify(made)


def test_a_plugin_that_cannot_be_read_is_one_sentence(checkout: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.py cannot be read: No such file or directory"):
        snapshot.take(out, [tmp_path / "mine.py"])


def test_workers_import_the_copy_and_not_the_checkout(
    checkout: Path, submit: Callable[..., Submission]
) -> None:
    made = submit()
    (checkout / "bench" / "__init__.py").write_text("ANSWER = 2\n")
    done = subprocess.run(
        [sys.executable, "-c", "import bench; print(bench.ANSWER, bench.__file__)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=checkout,
        env=supervisor.pythonpath(made.code_folder),
    )
    assert done.stdout.split() == ["1", str(made.code_folder / "bench" / "__init__.py")]
    snapshot.verify(made)


def git(folder: Path, *words: str) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_that_of_the_packages_own_checkout(checkout: Path) -> None:
    assert snapshot.commit() is None, "no checkout"
    (checkout / ".gitignore").write_text("bench\n")
    git(checkout, "init")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "without the packages, as around an environment")
    assert snapshot.commit() is None
    git(checkout, "add", "-f", "bench/__init__.py")
    git(checkout, "commit", "-m", "with them")
    clean = snapshot.commit()
    assert clean
    (checkout / "bench" / "__init__.py").write_text("ANSWER = 2\n")
    assert snapshot.commit() == f"{clean}-dirty"


def test_without_git_there_is_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert snapshot.commit() is None
