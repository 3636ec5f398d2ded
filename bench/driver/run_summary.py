"""What a finished plan leaves for its reader: tables, a picture, the ranking, and what did not work. No torch."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.driver import sound_results
from bench.machine.stage_timer import Stages, sentence
from bench.planning.plan import ENDED, Plan, Planned
from bench.runfolder import lease
from bench.runfolder.failure import Failure
from bench.runfolder.submission import Submission
from bench.worker import real_scores
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import fitted, many, short

if TYPE_CHECKING:
    from analysis.ranking.result import RankingResult
    from analysis.runs.run import Run

TABLES = ("results.parquet", "ranking.csv", "samples.png", "real-scores.json")
"""What a report leaves in the run folder."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """A run and its ranking."""

    run: Run
    ranking: RankingResult


def report(
    planned: Plan,
    stages: Stages | None,
    submissions: Sequence[Submission] = (),
    begun: Plan | None = None,
) -> int:
    """Write the tables and the picture, print the ranking, where everything is, where the time went, and the answer.

    ``stages`` None: nothing was run, and the timings of the run that did it stay. ``begun`` has also the cells of a seed
    that is not finished. Returns the exit code: 1 if a cell failed or is missing.
    """
    if stages:
        with stages("store"):
            code, found = tables(planned, begun or planned)
    else:
        code, found = tables(planned, begun or planned)
    spent = write_timings(planned.out, stages, submissions)
    there = [name for name in (*TABLES, "timings.json") if (planned.out / name).exists()]
    print(fitted(f"\n{many(len(planned.cells), 'cell')}{spent}. In {planned.out}:"))
    print(fitted("  " + "  ".join([*there, *["cells/"] * (planned.out / "cells").is_dir()])))
    if planned.grid.networks:
        print(f"formulations and networks: python -m analysis.rank {short(planned.out)} --effects")
    elif planned.grid.swept:
        print(f"with figures: python -m analysis.scaling {short(planned.out)} --out FOLDER")
    else:
        print(f"one page with everything: python -m analysis.report {short(planned.out)}")
    if found:
        print_answer(found)
    return code


def write_timings(out: Path, stages: Stages | None, submissions: Sequence[Submission]) -> str:
    """Write where the time of a command went that has run anything; returns it in words, to stand behind a number of
    cells."""
    if not stages or not submissions:
        return ""
    seconds = timings(stages, submissions)
    atomic.write_json(out / "timings.json", seconds)
    return f", {seconds['total']:.0f} s ({sentence(seconds)})"


def print_answer(found: Ranked) -> None:
    """Whether the run, or the race that it was, decides which formulation is best; nothing where there is only one."""
    from analysis.comparisons import race_outcome
    from analysis.ranking import verdict

    raced = race_outcome.of_run(found.run)
    answer = None if raced else verdict.answer(found.ranking, found.run)
    if raced or answer:
        text = race_outcome.terminal(raced) if raced else verdict.terminal(answer) if answer else ""
        print(f"\n{fitted(text)}", flush=True)


def timings(stages: Stages, submissions: Sequence[Submission]) -> dict[str, float]:
    """Seconds by stage, of this command and of all its workers together, and the ``total`` that passed."""
    seconds = stages.report()
    beats = (s.beat_file(index) for s in submissions for index in range(len(s.shares)))
    for beat in beats:
        for name, spent in lease.read(beat).get("seconds", {}).items():
            if name != "total":
                seconds[name] = round(seconds[name] + spent, 3)
    return seconds


def tables(
    planned: Plan, begun: Plan, make: Callable[[Plan], Ranked | None] | None = None
) -> tuple[int, Ranked | None]:
    """Write the tables and the picture, and print them; returns the exit code, and what was ranked. ``make`` does so from
    the run folder, :func:`analyse` by default."""
    tell_failures(planned)
    done = sum(p.state == "done" for p in planned.cells)
    if not done:
        for name in TABLES:  # those of an earlier command must not stand for this one
            (planned.out / name).unlink(missing_ok=True)
        counts = planned.counts()
        states = ", ".join(f"{n} {state}" for state, n in counts.items())
        print(f"no ranking: of {len(planned.cells)} cells {states}", file=sys.stderr)
        return 1, None
    kept = real_scores.kept(planned.out, planned.grid)
    atomic.write_json(planned.out / "real-scores.json", kept)
    found = (make or analyse)(planned)
    others = len(os.listdir(planned.out / "cells")) - len({p.cell.id for p in (*begun.parents, *begun.cells)})
    if begun.grid.seeds > planned.grid.seeds:
        print(
            f"seed {begun.grid.every_seed[-1]} is begun and not in these tables: the same command continues it",
            file=sys.stderr,
        )
    if others > 0 and not planned.chosen:
        print(f"{others} cells of other configurations in {planned.out} are not in these tables")
    codes = Counter(code for p in planned.cells if p.state == "done" if (code := code_of(p.folder)))
    if len(codes) > 1:
        print(f"these cells were trained by {len(codes)} versions of the code; status.json names each cell's")
    return 0 if all(p.state in ("done", "diverged") for p in planned.cells) else 1, found


def analyse(planned: Plan) -> Ranked | None:
    """Rank what the run folder holds, or show how it scales; write what that leaves there, and print it, with all
    formulations against a baseline if there is one."""
    from analysis import scaling
    from analysis.comparisons import baseline, comparison
    from analysis.rank import tables_of
    from analysis.runs import networks, run
    from analysis.tables import output

    found, made = run.read(planned.out), None
    try:
        found = networks.separated(found)
        if scaling.is_scaling(found):
            (planned.out / "ranking.csv").unlink(missing_ok=True)
            shown = scaling.report(found).tables()
        else:
            made = rank(found)
            shown = tables_of(found, made.ranking)
            if planned.against:
                name, what = planned.against.baseline, planned.against.decision
                compared = baseline.against(found, name, None, what.metric, what.margin)
                shown += [comparison.table(compared)]
    except UserError as error:  # nothing yet, or nothing that one table could show
        print(f"no table: {error}", file=sys.stderr)
        return None
    output.show(shown)
    return made


def rank(found: Run) -> Ranked:
    """Rank a run, and write the ranking and pictures of the best into its folder. Raises :class:`UserError`."""
    from analysis.ranking import ranking
    from analysis.tables import output

    ranked = ranking.rank(found)
    atomic.write_text(found.path / "ranking.csv", output.csv(ranked.frame()))
    samples(found, ranked, found.path / "samples.png")
    return Ranked(found, ranked)


def samples(found: Run, ranked: RankingResult, path: Path) -> None:
    """Draw pictures of the best formulations, if there are any."""
    from analysis import plots

    drawn, _ = plots.draw(found, ranked, only=["samples"])
    for sheet in drawn:
        atomic.write_whole(path, lambda p, figure=sheet.figure: figure.savefig(p, dpi=150))  # type: ignore[misc]


def tell_failures(planned: Plan) -> None:
    """A line for each cause for which cells have no result, and how to run them again."""
    causes: dict[str, list[tuple[Planned, str]]] = {}
    stuck = planned.stuck()
    for p in planned.cells:
        if p.state == "failed":
            failure = Failure.read(atomic.read_object(p.folder / "status.json").get("error"))
            failure = failure or Failure("", "the cause is not known", "")
            causes.setdefault(failure.cause, []).append((p, failure.message))
    for group in causes.values():
        first, message = group[0]
        others = f" and {many(len(group) - 1, 'other cell')}" if len(group) > 1 else ""
        print(f"failed: {place_of(first)}{others}: {message}", file=sys.stderr)
    if any(p.state == "failed" and p.folder.name not in stuck for p in planned.cells):
        print("the same command with '--retry failed' runs failed cells again", file=sys.stderr)
    if stuck:
        print("'--retry all' trains diverged cells, and what follows them, again", file=sys.stderr)
    left = [p for p in planned.cells if p.state not in ENDED and p.folder.name not in stuck]
    if left:
        them = "them" if len(left) > 1 else "it"
        print(f"{many(len(left), 'cell')} not finished: the same command runs {them}", file=sys.stderr)


def place_of(p: Planned) -> str:
    """``rf on digits, seed 0``."""
    return f"{p.cell.formulation} on {p.cell.dataset}, seed {p.cell.seed}"


def code_of(folder: Path) -> str | None:
    """The digest of the code that trained a cell."""
    training = atomic.read_object(folder / "status.json").get("training")
    return training.get("code") if isinstance(training, Mapping) else None


def set_aside(planned: Plan) -> list[tuple[Planned, Path]]:
    """Delete results that cannot be read, and pictures that are to be shown, so that they are made again; returns them,
    each with its cell."""
    found = sound_results.damaged(planned)
    for p, file in found:
        for part in {file, p.folder / planned.grid.evaluation.id / "result.json"}:
            part.unlink(missing_ok=True)
    return found
