"""What a finished plan leaves for its reader: tables, a picture, the ranking, and what did not work. No torch."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench import lease, results, store, yardsticks
from bench.launch.submission import Submission
from bench.plan import ENDED, Plan
from bench.stages import Stages, sentence
from bench.wording import many
from samplers.errors import UserError

TABLES = ("results.parquet", "ranking.csv", "samples.png", "yardsticks.json")
"""What a report leaves in the run folder."""


def report(planned: Plan, stages: Stages | None, submission: Submission | None = None) -> int:
    """Write the tables and the picture, print the ranking, and say where everything is and where the time went.

    ``stages`` None: nothing was run, and the timings of the run that did it stay. Returns the exit code: 1 if a cell
    failed or is missing.
    """
    if stages:
        with stages("store"):
            code = tables(planned)
    else:
        code = tables(planned)
    spent = ""
    if stages and submission:
        seconds = timings(stages, submission)
        store.write_json(planned.out / "timings.json", seconds)
        spent = f", {seconds['total']:.0f} s ({sentence(seconds)})"
    there = [name for name in (*TABLES, "timings.json") if (planned.out / name).exists()]
    print(f"\n{many(len(planned.cells), 'cell')}{spent}. In {planned.out}:")
    print("  " + "  ".join([*there, "cells/"]))
    return code


def timings(stages: Stages, submission: Submission) -> dict[str, float]:
    """Seconds by stage, of this command and of all its workers together, and the ``total`` that passed."""
    seconds = stages.report()
    for index in range(len(submission.shares)):
        for name, spent in lease.read(submission.beat_file(index)).get("seconds", {}).items():
            if name != "total":
                seconds[name] = round(seconds[name] + spent, 3)
    return seconds


def tables(planned: Plan) -> int:
    """Write the tables and the picture, and print the ranking; returns the exit code."""
    from analysis import rank

    tell_failures(planned)
    done = sum(p.state == "done" for p in planned.cells)
    if not done:
        for name in TABLES:  # those of an earlier command must not stand for this one
            (planned.out / name).unlink(missing_ok=True)
        counts = planned.counts()
        told = ", ".join(f"{n} {state}" for state, n in counts.items())
        print(f"no ranking: of {len(planned.cells)} cells {told}", file=sys.stderr)
        return 1
    frame = results.collect(planned)
    results.write_frame(frame, planned.out / "results.parquet")
    kept = yardsticks.kept(planned.out, planned.grid)
    store.write_json(planned.out / "yardsticks.json", kept)
    ranking = rank.rank(frame)
    results.write_frame(ranking, planned.out / "ranking.csv")
    results.sample_sheet(
        planned, list(ranking["formulation"]), planned.out / "samples.png", captions_of(planned)
    )
    rank.main([str(planned.out)])
    others = sum(1 for _ in (planned.out / "cells").iterdir()) - len({p.cell.id for p in planned.cells})
    if others > 0:
        print(f"{others} cells of other configurations in {planned.out} are not in these tables")
    codes = Counter(code for p in planned.cells if p.state == "done" if (code := code_of(p.folder)))
    if len(codes) > 1:
        print(f"these cells were trained by {len(codes)} versions of the code; status.json names each cell's")
    return 0 if all(p.state in ("done", "diverged") for p in planned.cells) else 1


def tell_failures(planned: Plan) -> None:
    """A line for each cell that has no result, and how to run it again."""
    failed = [p for p in planned.cells if p.state == "failed"]
    for p in failed:
        error = store.read_object(p.folder / "status.json").get("error")
        print(
            f"failed: {p.cell.formulation} on {p.cell.dataset}, seed {p.cell.seed}: {error}", file=sys.stderr
        )
    if failed:
        print("the same command with '--retry failed' runs failed cells again", file=sys.stderr)
    left = [p for p in planned.cells if p.state not in ENDED]
    if left:
        print(f"{many(len(left), 'cell')} not finished: the same command goes on", file=sys.stderr)


def code_of(folder: Path) -> str | None:
    """The digest of the code that trained a cell."""
    training = store.read_object(folder / "status.json").get("training")
    return training.get("code") if isinstance(training, Mapping) else None


def captions_of(planned: Plan) -> list[str]:
    """The first captions that were sampled, as the first finished cell keeps them."""
    for p in planned.cells:
        if p.state == "done":
            result = store.read_object(p.folder / planned.grid.evaluation.id / "result.json")
            return list(result["captions"])
    return []


def set_aside(planned: Plan) -> list[Path]:
    """Delete results that cannot be read, and pictures that are to be shown, so that they are made again; returns them."""
    damaged = []
    shown = results.shown(planned)
    for p in planned.cells:
        if p.state == "done":
            result = p.folder / planned.grid.evaluation.id / "result.json"
            try:
                file = result
                results.cell_rows(p, planned.grid.evaluation)
                if p.cell.formulation in shown and shown[p.cell.formulation].is_relative_to(p.folder):
                    file = shown[p.cell.formulation]
                    store.read_tensors(file, "numpy")
            except UserError:
                for part in {file, result}:
                    part.unlink(missing_ok=True)
                damaged.append(file)
    return damaged
