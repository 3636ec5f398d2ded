"""A file is written whole, or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.results.files import write_whole


def test_a_new_file_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    seen = []

    def write(path: Path) -> None:
        seen.append(((tmp_path / "a").read_text(), path.parent))
        path.write_text("new")

    write_whole(tmp_path / "a", write)
    assert seen == [("old", tmp_path)]
    assert (tmp_path / "a").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_was_there_stays_if_writing_fails(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def broken(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a", broken)
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize(("folder", "file"), [(0o700, 0o600), (0o750, 0o640), (0o755, 0o644)])
def test_who_may_read_the_folder_may_read_the_file(tmp_path: Path, folder: int, file: int) -> None:
    tmp_path.chmod(folder)
    write_whole(tmp_path / "a", lambda path: path.write_text("new"))
    assert (tmp_path / "a").stat().st_mode & 0o777 == file
