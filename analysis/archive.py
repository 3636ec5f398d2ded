"""``python -m analysis.archive SOURCE [SOURCE ...] FOLDER``: what is needed to check a study, in about a megabyte, to be
published."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from analysis import scaling
from analysis.archives import bundle, merge
from analysis.published import versus
from analysis.rank import tables_of
from analysis.ranking import ranking
from analysis.ranking.result import RankingResult
from analysis.runs import networks, options, run, sources
from analysis.runs.run import Run
from analysis.tables import output
from analysis.tables.table import Table
from flowbench._core import atomic
from flowbench._core.command import outcome
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    pass

DESCRIPTION = """Write what a run has left, without its cells, into a folder: results, plan, curves, some pictures, where the
numbers come from, and all that is made of these: tables, figures, the page. analysis.rank, report, plots and scaling read
that folder as they read the run's. The same command again after more cells are done writes it anew. Several sources that
differ in seeds only become one archive: so an archive grows, even where the cells of its first seeds are gone."""
EPILOG = """examples:
  python -m analysis.archive runs/quick results/quick
  python -m analysis.archive results/quick runs/seeds-3-to-5 results/quick
  python -m analysis.rank results/quick --versus-paper"""

RANKING, TABLES, VERSUS, REPORT, FIGURES = (
    "ranking.csv",
    "tables.md",
    "versus-paper.md",
    "report.html",
    "figures",
)
KNOWN = (
    *("grid.json", "confirm.json", "real-scores.json", "timings.json", "ideal.json", "results.parquet"),
    *(sources.CELLS, sources.CURVES, sources.SAMPLES, sources.PICTURES, sources.PROVENANCE),
    *(RANKING, TABLES, VERSUS, REPORT),
)
"""Names of files of an archive."""
COMPANIONS = ("README.md", "submission.json", "plugin.py", "log.txt", "ideal.png")
"""Files that may stand next to them, and are left as they are."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 2 after printing one sentence about a mistake of the user's."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = options.parser("archive", DESCRIPTION, EPILOG)
    made.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="a run folder, or an archive, also FOLDER itself",
    )
    made.add_argument(
        "out", type=Path, metavar="FOLDER", help="for example results/NAME; made if it is not there"
    )
    made.add_argument(
        "--no-figures", action="store_true", help="neither figures nor page: they can be made from the rest"
    )
    made.add_argument(
        "--no-samples",
        action="store_true",
        help="no values of single samples: a third of an archive, or more; the forecast of seeds and the intervals "
        "of one seed by itself need them",
    )
    args = made.parse(argv)
    for line in archive(args.sources, args.out, not args.no_figures, not args.no_samples):
        print(line, flush=True)
    return 0


def archive(named: Sequence[Path], out: Path, figures: bool = True, samples: bool = True) -> Iterator[str]:
    """Archive the run folders and archives of one study, with or without ``figures`` and page, and values of single
    ``samples``; yields lines about it.

    Raises `UserError` for a source without cells, for sources without a finished cell or that cannot be one archive
    (`analysis.archives.merge`), and for an ``out`` that holds something else, or finished cells that no source has.
    """
    found = {str(folder): run.read(folder) for folder in named}
    for name, one in found.items():
        if not one.manifests:
            raise UserError(
                f"{name!r} has no cells to archive: name a run folder of bench.grid, or an archive"
            )
        bundle.check_names(one)
    if len(found) == 1:
        tables(*found.values())  # raises where nothing can be shown
    _check(out)
    _check_kept(found, out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=".new-") as temporary:
            new = Path(temporary) / "new" / out.resolve().name  # the page's title is the folder's name
            new.mkdir(parents=True)
            new.chmod(out.parent.stat().st_mode & 0o755)
            _data(found, new, () if samples else (bundle.LEFT_OUT_SAMPLES,))
            kept = run.read(new)
            try:
                _complete(kept, figures)
            except UserError as error:  # which names the temporary folder
                raise UserError(str(error).replace(str(new), str(out))) from error
            left_out = atomic.known_object(new / sources.PROVENANCE)["left_out"]
            _replace(new, out)
    except OSError as error:
        raise UserError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error
    cells = kept.frame.drop_duplicates("cell")["status"].value_counts()
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    yield f"{out}: {', '.join(f'{n} {state}' for state, n in cells.items())} of {cells.sum()} cells, {size / 1e6:.2f} MB"
    yield from (f"left out: {what}" for what in left_out)


def _data(found: Mapping[str, Run], new: Path, without: Collection[str]) -> None:
    """Write the data files of all sources, by their names, into an empty folder, and leave out what is ``without``."""
    first = next(iter(found.values()))
    if len(found) == 1 and not _is_archive(first):
        bundle.write(first, new, without)
        return
    parts: list[merge.Part] = []
    for i, (name, one) in enumerate(found.items()):
        part = one
        if not _is_archive(one):
            home = new.parent.with_name("sources") / str(i)
            home.mkdir(parents=True)
            bundle.write(one, home)
            part = run.read(home)
        parts.append(merge.Part(name, part))
    merge.write(parts, new, without)


def _is_archive(found: Run) -> bool:
    return sources.is_archive(found.path)


def _complete(kept: Run, figures: bool) -> None:
    """Write tables, figures and page next to an archive's data."""
    ranked = None if scaling.is_scaling(kept) else ranking.rank(kept)
    _provenance(networks.separated(kept), ranked)
    for name, text in tables(kept).items():
        bundle.write_text(kept.path / name, text)
    if figures:
        _draw(kept, ranked, kept.path)


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
    found = networks.separated(found)
    if scaling.is_scaling(found):
        return {TABLES: _markdown(scaling.report(found).tables())}
    ranked = ranking.rank(found)
    made = {RANKING: output.csv(ranked.frame()), TABLES: _markdown(tables_of(found, ranked))}
    try:
        return made | {VERSUS: _markdown([versus.with_paper(ranked)])}
    except UserError:  # too few formulations of the paper's
        return made


def _markdown(shown: Sequence[Table]) -> str:
    return output.write(shown, "md") + "\n"


def _check(out: Path) -> None:
    """Refuse a folder that holds something else than an archive."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{str(out)!r} is a file: name a folder")
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(there - {*KNOWN, FIGURES, *COMPANIONS})
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


def _check_kept(found: Mapping[str, Run], out: Path) -> None:
    """Refuse to write over finished cells that no source has."""
    try:
        old = _finished(run.read(out)) if sources.is_archive(out) else set()
    except UserError:  # of a damaged one nothing can be kept
        return
    new = set().union(*(_finished(one) for one in found.values()))
    for name, dataset, seed in sorted(old - new):
        raise UserError(
            f"{str(out)!r} holds {name} on {dataset}, seed {seed}, which no source has: name it as a source, too, "
            f"or delete it first"
        )


def _finished(found: Run) -> set[tuple[str, str, int]]:
    rows = found.frame[found.frame["status"].isin(["done", "diverged"])]
    keys = zip(rows["formulation"], rows["dataset"].map(bundle.relative), rows["seed"], strict=True)
    return {(str(name), str(dataset), int(seed)) for name, dataset, seed in keys}


def _provenance(kept: Run, ranked: RankingResult | None) -> None:
    """Write where the numbers come from, as the page shows it, with the times as numbers."""
    from analysis.report.page_provenance import provenance

    made = provenance(kept, {} if ranked is None else ranked.facts.recipes)
    facts = {heading.lower().replace(" ", "_"): list(values) for heading, values in made.facts}
    noted = atomic.known_object(kept.path / sources.PROVENANCE)  # of the data
    numbers = {
        "commits": noted["commits"],
        "device_seconds": made.device_seconds,
        "wall_seconds": made.wall_seconds,
        "left_out": noted["left_out"],
    }
    bundle.write_text(kept.path / sources.PROVENANCE, json.dumps(facts | numbers, indent=1) + "\n")


def _draw(kept: Run, ranked: RankingResult | None, out: Path) -> None:
    """Draw the figures and write the page."""
    from analysis import plots
    from analysis.plots import files
    from analysis.report import contents, page, scaling_contents
    from analysis.scaling import charts

    if ranked is None:
        drawn, made = charts.draw(scaling.report(kept)), scaling_contents.read(kept)
    else:
        drawn, made = plots.draw(networks.separated(kept), ranked)[0], contents.read(kept)
    page.write(made, out / REPORT)
    for figure in drawn:
        figure.figure.set_facecolor("white")  # legible on a dark page, too
        kind = "png" if figure.name == "samples" else "svg"  # pixels, which an SVG would smooth
        list(files.write([figure], out / FIGURES, [kind]))


if __name__ == "__main__":
    sys.exit(main())
