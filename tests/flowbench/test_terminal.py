"""The lines that end a command, on terminals of any width and in files."""

from __future__ import annotations

import pytest

from flowbench._core.terminal import fitted

COMMAND = "`python -m bench.grid --preset smoke --seeds 12`"
ANSWER = f"Undecided between rf/lognorm(0.00,1.00) and rf/mode(1.29); {COMMAND} (about 14 minutes more) may decide."


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_a_terminal_breaks_no_word_and_no_command(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = fitted(ANSWER).split("\n")
    assert " ".join(lines) == ANSWER
    assert any(COMMAND in line for line in lines)
    pieces = ANSWER.replace(COMMAND, "").split()
    assert all(len(line) <= columns or line.strip() in (*pieces, COMMAND) for line in lines)


def test_a_file_has_it_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert fitted(ANSWER) == ANSWER
