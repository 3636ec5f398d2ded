"""Collects what the fault tests measured, and writes the table of `--faults FILE`."""

from __future__ import annotations

from pathlib import Path

HEAD = """# Faults

What `python -m bench.grid` does when something goes wrong. Made by
`pytest tests/slurm tests/bench/launch --long --faults tests/faults.md` on {machine}.
Each row is a test that ends with all cells done, and with results identical to those of an undisturbed local run, bit for
bit. *Noticed* and *training again* are seconds after the fault; they contain Slurm's own delays (test cluster: a node is
given up after 20 s, a requeued job waits 6 s; by default 300 s and 121 s).

| | what happens | what a user sees | noticed | training again |
|--:|:--|:--|--:|--:|
"""


class Faults:
    """Called by a test when its scenario has ended well."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, str, str, str]] = []

    def __call__(
        self,
        number: int,
        what: str,
        sees: str,
        notice: float | None = None,
        recover: float | None = None,
        note: str = "",
    ) -> None:
        """A row: the scenario's number in the issue's list, and seconds to notice and to recover."""
        times = ["" if t is None else f"{t:.1f} s" for t in (notice, recover)]
        self.rows.append((number, what, f"{sees}{', ' if note else ''}{note}", *times))

    def write(self, file: Path, machine: str) -> None:
        """The table, by number."""
        rows = [f"| {' | '.join(map(str, row))} |\n" for row in sorted(self.rows)]
        file.write_text(HEAD.format(machine=machine) + "".join(rows))
