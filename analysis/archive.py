"""``python -m analysis.archive RUN FOLDER``: what is needed to check a run, in about a megabyte, to be published."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from samplers.command import outcome
from samplers.errors import UserError

from . import bundle, options, output, ranking, render, run, scaling, sources, versus
from .run import Run
from .tables import Table

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """Write what a run has left, without its cells, into a folder: results, plan, curves, some pictures, where the
numbers come from, and all that is made of these: tables, figures, the page. analysis.rank, report, plots and scaling read
that folder as they read the run's. The same command again after more cells are done writes it anew."""
EPILOG = """examples:
  python -m analysis.archive runs/quick results/quick
  python -m analysis.rank results/quick --versus-paper"""

RANKING, TABLES, VERSUS, REPORT, FIGURES = (
    "ranking.csv",
    "tables.md",
    "versus-paper.md",
    "report.html",
    "figures",
)
KNOWN = (
    *("grid.json", "confirm.json", "yardsticks.json", "timings.json", "ideal.json", "results.parquet"),
    *(sources.CELLS, sources.CURVES, sources.SAMPLES, sources.PICTURES, sources.PROVENANCE),
    *(RANKING, TABLES, VERSUS, REPORT),
)
"""Names of files of an archive."""
BESIDE = ("README.md", "submission.json", "plugin.py", "log.txt", "ideal.png")
"""What may stand beside them, and is left as it is."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = options.parser("archive", DESCRIPTION, EPILOG)
    made.add_argument("run", type=Path, help="a run folder")
    made.add_argument(
        "out", type=Path, metavar="FOLDER", help="for example results/NAME; made if it is not there"
    )
    made.add_argument(
        "--no-figures", action="store_true", help="neither figures nor page: they can be made from the rest"
    )
    args = made.parse(argv)
    for line in archive(args.run, args.out, not args.no_figures):
        print(line, flush=True)
    return 0


def archive(folder: Path, out: Path, figures: bool = True) -> Iterator[str]:
    """Archive a run, with ``figures`` and page or without; yields what there is to say about it.

    Raises `UserError` for what is no run folder, for a run of which no cell is done, and for an ``out`` that holds
    something else.
    """
    found = run.read(folder)
    if not found.manifests or sources.is_archive(folder):
        raise UserError(f"{str(folder)!r} has no cells to archive: name a run folder of bench.grid")
    bundle.check_names(found)
    tables(found)  # raises where nothing can be shown
    _check(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".new-") as beside:
            new = Path(beside) / out.resolve().name  # the page's title is the folder's name
            new.mkdir()
            new.chmod(out.parent.stat().st_mode & 0o755)
            left_out = _write(found, new, figures)
            _replace(new, out)
    except OSError as error:
        raise UserError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error
    cells = found.frame.drop_duplicates("cell")["status"].value_counts()
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    yield f"{out}: {', '.join(f'{n} {state}' for state, n in cells.items())} of {cells.sum()} cells, {size / 1e6:.2f} MB"
    yield from (f"left out: {what}" for what in left_out)


def _write(found: Run, new: Path, figures: bool) -> list[str]:
    """Write an archive into an empty folder; returns what is left out."""
    left_out = bundle.write(found, new)
    kept = run.read(new)
    ranked = None if scaling.is_scaling(kept) else ranking.of_run(kept)
    _provenance(found, ranked, new / sources.PROVENANCE, left_out)
    for name, text in tables(kept).items():
        bundle.write_text(new / name, text)
    if figures:
        _draw(kept, ranked, new)
    return left_out


def _replace(new: Path, out: Path) -> None:
    """Put a finished archive where an earlier one may be."""
    (out / FIGURES).mkdir(parents=True, exist_ok=True)
    for file in (*(out / name for name in KNOWN), *(out / FIGURES).glob("*")):
        file.unlink(missing_ok=True)
    for file in filter(Path.is_file, new.rglob("*")):
        file.replace(out / file.relative_to(new))
    if not any((out / FIGURES).iterdir()):
        (out / FIGURES).rmdir()


def tables(found: Run) -> dict[str, str]:
    """The tables of a run as the texts of files, by their names: what is printed of it, and the ranking at full precision.

    Raises `UserError` where nothing can be ranked, or of scaling nothing be said.
    """
    if scaling.is_scaling(found):
        return {TABLES: _markdown(scaling.report(found).tables())}
    ranked, known = ranking.assess(found.frame, run=found)
    made = {RANKING: output.csv(ranked), TABLES: _markdown(render.tables_of(found, ranked))}
    try:
        return made | {VERSUS: _markdown([versus.beside_paper(ranked, known)])}
    except UserError:  # too few formulations of the paper's
        return made


def _markdown(shown: Sequence[Table]) -> str:
    return output.write(shown, "md") + "\n"


def _check(out: Path) -> None:
    """Refuse a folder that holds something else than an archive."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{str(out)!r} is a file: name a folder")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(there - {*KNOWN, FIGURES, *BESIDE})
    folders = [out / name for name in sorted(there & {*KNOWN}) if (out / name).is_dir()]
    folders += [path for path in (out / FIGURES).glob("*") if path.is_dir()]
    if "grid.json" in there and sources.CELLS not in there:
        raise UserError(f"{str(out)!r} is a run folder, no archive: name a new folder")
    if foreign:
        raise UserError(f"{str(out)!r} holds {foreign[0]}, so it is no archive: name a new folder")
    if folders:
        raise UserError(f"{str(folders[0])!r} is a folder, which no archive has: name a new folder")
    if (out / FIGURES).exists() and not (out / FIGURES).is_dir():
        raise UserError(f"{str(out / FIGURES)!r} is a file, which no archive has: name a new folder")


def _provenance(found: Run, ranked: pd.DataFrame | None, file: Path, left_out: Sequence[str]) -> None:
    """Write where the numbers come from, as the page shows it, with the times as numbers."""
    from .report.provenance import provenance

    about: dict[str, Any] = {} if ranked is None else dict(ranked.attrs)  # type: ignore[arg-type]
    kept = provenance(found, about.get("recipes", {}))
    facts = {heading.lower().replace(" ", "_"): list(values) for heading, values in kept.facts}
    numbers = {
        "commits": sorted(found.source.commits()),
        "device_seconds": kept.device_seconds,
        "wall_seconds": kept.wall_seconds,
        "left_out": list(left_out),
    }
    bundle.write_text(file, bundle.relative(json.dumps(facts | numbers, indent=1)) + "\n")


def _draw(kept: Run, ranked: pd.DataFrame | None, out: Path) -> None:
    """Draw the figures and write the page, of scaling the figures only."""
    from . import plots
    from .plots import files

    if ranked is None:
        from .scaling import figures

        drawn = figures.draw(scaling.report(kept))
    else:
        from .report import gather, page

        drawn, _ = plots.draw(kept, ranked)
        page.write(gather.gather(kept), out / REPORT)
    for figure in drawn:
        figure.figure.set_facecolor("white")  # legible on a dark page, too
        kind = "png" if figure.name == "samples" else "svg"  # pixels, which an SVG would smooth
        list(files.write([figure], out / FIGURES, [kind]))


if __name__ == "__main__":
    sys.exit(main())
