"""``python -m analysis.leaderboard``: check every submission, and write the leaderboard into results/README.md."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import flowbench
from analysis.archives import leaderboard_entry
from analysis.archives.leaderboard_entry import TRACKS, Submission, Track
from analysis.comparisons import baseline, comparison
from analysis.comparisons.baseline import Comparisons
from analysis.runs import options, run
from analysis.runs.schema import Results
from analysis.tables.markup import markdown_escape
from analysis.tables.wording import count
from flowbench._core import atomic
from flowbench._core.command import Parser, entry
from flowbench._core.errors import UserError

DESCRIPTION = """Check the submissions in results/leaderboard by the rules of their tracks, and write the leaderboard into
results/README.md, between its markers."""
BEGIN, END = "<!-- leaderboard: made by python -m analysis.leaderboard -->", "<!-- end of the leaderboard -->"
FOLDER, PAGE = "leaderboard", "README.md"
RESULTS = Path(flowbench.ROOT) / "results"
COMPARED = ("fid", "clip", "val_loss")


@dataclass(frozen=True)
class Entry:
    """A formulation of a track against the baseline; ``made`` is None of those of the reference run."""

    found: Comparisons
    folder: str
    made: Submission | None = None

    @property
    def order(self) -> tuple[bool, float]:
        """The smallest difference first, formulations without one last."""
        first = self.found.rows[0]
        better = -1 if self.found.metrics[first.metric].higher_is_better else 1
        return math.isnan(first.estimate), better * first.estimate


def parser() -> Parser:
    """The command's options."""
    made = options.parser("leaderboard", DESCRIPTION)
    made.add_argument(
        "--check", action="store_true", help="write nothing: exit 1 if the leaderboard is not what there is"
    )
    made.add_argument(
        "--results", type=Path, default=RESULTS, metavar="DIR", help="default: results of this copy"
    )
    return made


def command(argv: Sequence[str] | None) -> int:
    """Run the command; mistakes are exceptions."""
    args = parser().parse(argv)
    page: Path = args.results / PAGE
    if not page.is_file():
        raise UserError(f"there is no {page}, into which the leaderboard belongs")
    before = page.read_text(encoding="utf-8")
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise UserError(
            f"{page} lacks the lines {BEGIN!r} and {END!r}, between which the leaderboard belongs"
        )
    after = f"{head}{BEGIN}\n\n{render(args.results)}\n{END}{tail}"
    if args.check:
        print(f"{page}: {'as it should be' if after == before else 'run python -m analysis.leaderboard'}")
        return int(after != before)
    atomic.write_text(page, after)
    print(page)
    return 0


def render(results: Path) -> str:
    """The leaderboard of a results folder in Markdown, a section for each track.

    Raises `UserError` for the first submission that breaks a rule, and for one whose track has no reference yet.
    """
    folders = sorted(file.parent for file in results.glob(f"{FOLDER}/*/{leaderboard_entry.ABOUT}"))
    submissions = {folder: leaderboard_entry.read(folder) for folder in folders}
    return "\n".join(
        section(results, name, {f: made for f, made in submissions.items() if made.track == name})
        for name in TRACKS
    )


def section(results: Path, name: str, submissions: dict[Path, Submission]) -> str:
    """One track."""
    track, title = TRACKS[name], f"### Track `{name}`\n"
    if not (results / track.reference / "results.parquet").is_file():
        if submissions:
            raise UserError(
                f"{min(submissions)}: the track {name!r} has no reference run {track.reference!r} yet"
            )
        return f"{title}\nNo entries yet: the reference run of this track, `{track.reference}`, is not finished.\n"
    reference = run.read(results / track.reference)
    ranked = reference.phase("rank")
    pairs: list[tuple[Results, str, Submission | None]] = [
        (ranked.formulations(name, track.baseline), track.reference, None)
        for name in dict.fromkeys(ranked.frame["formulation"])
        if name != track.baseline
    ]
    for folder, made in submissions.items():
        pairs.append((leaderboard_entry.checked(folder, made, reference), f"{FOLDER}/{folder.name}", made))
    entries = [Entry(_against(pair, track), home, by) for pair, home, by in pairs]
    lines = [title, _about(ranked, track), "", *_table(sorted(entries, key=lambda e: e.order))]
    return "\n".join(lines) + "\n"


def _against(pair: Results, track: Track) -> Comparisons:
    return baseline.against(pair, track.baseline, [m for m in COMPARED if m in pair.frame], track.primary)


def _about(results: Results, track: Track) -> str:
    rows = results.frame
    own = rows[(rows["formulation"] == track.baseline) & (rows["status"] == "done")]
    label = results.metrics[track.primary].label
    mean = f"{label} {own[track.primary].mean():.3f} over {count(own['seed'].nunique(), 'seed')}"
    return "\n".join(
        [
            f"Protocol, and the baseline `{track.baseline}` ({mean}): [{track.reference}]({track.reference}).",
            "Columns are differences from the baseline that was trained in the same run, paired by seed, with intervals",
            "that hold however often one looks, 95 % for each row by itself. Rows are sorted by the first; a formulation",
            "that diverged in a seed comes last.",
        ]
    )


def _table(entries: Sequence[Entry]) -> list[str]:
    metrics = entries[0].found.metrics if entries else {}
    head = ["formulation", *(m.label for m in metrics.values()), "verdict", "seeds", "by", "date", "files"]
    lines = [f"| {' | '.join(head)} |", f"|:--|{'--:|' * len(metrics)}:--|--:|:--|:--|:--|"]
    for each in entries:
        primary, made = each.found.rows[0], each.made
        files = {"results": each.folder}
        if made:
            files |= {"plugin": f"{each.folder}/{made.plugin}"} if made.plugin else {}
            files["log"] = f"{each.folder}/{leaderboard_entry.LOG}"
        cells = [
            f"`{primary.formulation}`",
            *(comparison.difference(row) for row in each.found.rows),
            comparison.verdict(primary),
            str(primary.n),
            markdown_escape(made.author) if made else "reference",
            made.date if made else "",
            ", ".join(f"[{what}]({file})" for what, file in files.items()),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
