"""``python -m bench.ideal``: what the sampling grid alone does, by a perfect network that nobody trains.

For training images x_i that are equally likely the posterior mean of the image in ``x_t = a x + b n`` is a softmax:

    x^ = sum_i w_i x_i,   w = softmax_i(-|x_t - a x_i|^2 / (2 b^2)),   n^ = (x_t - a x^) / b

With it every path, solver and grid can be sampled, and the Fréchet distance that is left is the error of the steps: targets,
weights and timestep samplers have no part in it, so that formulations of one path and grid share their numbers. There are no
captions, and so there is no guidance.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench import store
from bench.config import Evaluation, Grid, Images
from bench.data import own_resolution
from bench.device import pick_device
from bench.generate import start_noise
from bench.machine import versions
from bench.metrics.frechet import Moments, frechet
from bench.metrics.kid import kid
from bench.plan import expand
from bench.settings import Setting, Solver, TimeGrid
from bench.setup import Setup, features, make
from bench.solvers import SOLVERS, begun, times
from bench.wording import many
from formulations import Formulation, get, load_plugin
from samplers.command import INT, Parser, outcome
from samplers.errors import UserError

FILE = "ideal.json"
"""In a run folder; :mod:`analysis.ideal` reads it."""
STEPS = (5, 10, 25, 50)
METHODS: tuple[tuple[Solver, TimeGrid], ...] = (
    ("euler", "native"),
    ("ddim", "native"),
    ("euler", "clock"),
    ("ddim", "clock"),
)


@dataclass(frozen=True)
class Left:
    """What the steps of a setting leave to a perfect network."""

    dataset: str
    formulation: str
    steps: int
    solver: str
    grid: str
    fid: float
    kid: float


def posterior(images: Tensor, x_t: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x^ ``[n, D]`` for noisy ``x_t [n, D]`` at the scalars a, b, if the data are ``images [N, D]``; float64."""
    scores = (a * (x_t @ images.T) - a**2 / 2 * images.square().sum(1)) / b**2
    return torch.softmax(scores, 1) @ images


def sample(images: Tensor, f: Formulation, setting: Setting, noise: Tensor) -> Tensor:
    """The images ``[n, D]`` that a perfect network draws from ``noise [n, D]``."""
    t = times(f, setting)
    at, (image, direction) = f.point(t), SOLVERS[setting.solver](f, t)
    x_t = torch.hypot(at.a[0], at.b[0]) * noise
    for k in range(setting.steps):
        clean = posterior(images, x_t, at.a[k], at.b[k])
        x_t = image[k] * clean + direction[k] * (x_t - at.a[k] * clean) / at.b[k]
    return x_t


def course(f: Formulation, setting: Setting) -> tuple[float, ...]:
    """All that a perfect network's samples depend on, rounded: formulations that share it share their samples."""
    t = times(f, setting)
    at = f.point(t)
    return tuple(round(v, 9) for part in (at.a, at.b, *SOLVERS[setting.solver](f, t)) for v in part.tolist())


def measured(setup: Setup, names: Iterable[str], settings: Sequence[Setting], grid: Grid) -> Iterator[Left]:
    """The distances of each formulation and setting to the reference images of a dataset."""
    data, n = setup.data, grid.evaluation.samples
    images = data.normalize(torch.from_numpy(data.train.images)).double().flatten(1)
    shape = data.train.images.shape[1:]
    noise = start_noise(data.name, n, (shape[0], shape[1], shape[2])).double().flatten(1)
    known: dict[tuple[float, ...], tuple[float, float]] = {}
    for name in names:
        f = begun(get(name), grid.evaluation.start)
        for setting in settings:
            key = course(f, setting)
            if key not in known:
                drawn = sample(images, f, setting, noise).float().unflatten(1, shape)
                found = features(setup.extractor, data.denormalize(drawn))
                distance = kid(found, setup.reference, within=setup.within).value
                known[key] = frechet(Moments.of(found), setup.moments), distance
            how = (setting.steps, setting.solver, setting.grid)
            yield Left(data.name, name, *how, *known[key])


def table(found: Sequence[Left]) -> str:
    """FID by formulation (rows) and steps, for each dataset, solver and grid, as Markdown."""
    parts = []
    for dataset, solver, grid in dict.fromkeys((r.dataset, r.solver, r.grid) for r in found):
        rows = [r for r in found if (r.dataset, r.solver, r.grid) == (dataset, solver, grid)]
        steps = sorted({r.steps for r in rows})
        lines = [f"{dataset}, {solver} on the {grid} grid: FID by steps", ""]
        lines.append("| formulation | " + " | ".join(map(str, steps)) + " |")
        lines.append("|:--|" + "--:|" * len(steps))
        for name in dict.fromkeys(r.formulation for r in rows):
            told = [f"{r.fid:.1f}" for s in steps for r in rows if (r.formulation, r.steps) == (name, s)]
            lines.append(f"| {name} | " + " | ".join(told) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def figure(found: Sequence[Left], file: Path) -> None:
    """FID against steps: a row of panels for each dataset, a panel for each solver and grid; a line for each course."""
    from analysis.plots import files, legends, scales, style, widths

    datasets = list(dict.fromkeys(r.dataset for r in found))
    methods = list(dict.fromkeys((r.solver, r.grid) for r in found))
    names = list(dict.fromkeys(r.formulation for r in found))
    values = {name: tuple(round(r.fid, 6) for r in found if r.formulation == name) for name in names}
    shown = {fids: [n for n in names if values[n] == fids] for fids in dict.fromkeys(values.values())}
    with style.styled():
        height = 1.9 * len(datasets) + legends.legend_height(widths.PAGE, len(shown))
        made = style.figure(widths.PAGE, height)
        panels = made.subplots(len(datasets), len(methods), squeeze=False, sharey="row")
        for row, dataset in zip(panels, datasets, strict=True):
            for panel, (solver, grid) in zip(row, methods, strict=True):
                for same in shown.values():
                    line = [
                        (r.steps, r.fid)
                        for r in found
                        if (r.formulation, r.dataset, r.solver, r.grid) == (same[0], dataset, solver, grid)
                    ]
                    panel.plot(*zip(*line, strict=True), **style.line(same[0]))
                panel.set_xscale("log")
                panel.set_yscale("log")
                ticks = sorted({r.steps for r in found})
                panel.set_xticks(ticks, [str(t) for t in ticks])
                panel.minorticks_off()
                scales.log_axis(panel.yaxis)
                panel.set_title(f"{widths.dataset_shown(dataset)}, {solver}, {grid} grid")
                panel.set_xlabel("sampling steps")
            row[0].set_ylabel("FID of a perfect network")
        legends.legend(made, (), more={_label(same): style.line(same[0]) for same in shown.values()})
        store.write_whole(file, lambda path: made.savefig(path, dpi=files.DPI, facecolor="white"))


def _label(same: Sequence[str]) -> str:
    """What a line is called that several formulations share."""
    return same[0] if len(same) == 1 else f"{same[0]} and {many(len(same) - 1, 'other')}"


def parser() -> Parser:
    """The command's options."""
    made = Parser(prog="python -m bench.ideal", description=__doc__, allow_abbrev=False)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument(
        "run",
        nargs="?",
        type=Path,
        help="a run folder: its datasets, formulations and settings; leaves ideal.json there",
    )
    made.add_argument(
        "--datasets",
        nargs="+",
        metavar="DATA",
        help=f"without a run (default digits scenes), at the size of their originals or at {Images().resolution} px",
    )
    made.add_argument("--formulations", nargs="+", metavar="GLOB", help="without a run (default published)")
    made.add_argument("--steps", nargs="+", type=INT, metavar="N", help="without a run (default 5 10 25 50)")
    made.add_argument("--samples", type=INT, metavar="N", help="without a run (default 1000)")
    made.add_argument(
        "--train-images", type=INT, default=2_000, metavar="N", help="of the posterior (default 2000)"
    )
    made.add_argument("--plugin", nargs="+", type=Path, default=[], metavar="FILE", help="as for bench.grid")
    made.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for ideal.json and ideal.png (default the run's)"
    )
    return made


def planned(args: argparse.Namespace) -> tuple[list[Grid], list[str], list[Setting], Path]:
    """A grid for each dataset, the formulations, the settings, and where the result goes. Raises :class:`UserError`."""
    if args.run is not None:
        for name in ("datasets", "formulations", "steps", "samples"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name} is the run's: leave it out beside {args.run}")
        if not (args.run / "grid.json").is_file():
            raise UserError(f"{args.run} is no run folder: `python -m bench.grid` makes runs/quick")
        grid = store.read_config(args.run / "grid.json", "grid", Grid)
        settings = [replace(s, cfg=1.0) for s in grid.evaluation.settings]
    else:
        evaluation = Evaluation(samples=1_000 if args.samples is None else args.samples)
        grid = Grid(
            tuple(args.formulations or ("published",)),
            datasets=tuple(args.datasets or ("digits", "scenes")),
            evaluation=evaluation,
        )
        settings = [Setting(n, 1.0, *how) for how in METHODS for n in args.steps or STEPS]
    if args.train_images < 2:
        raise UserError(f"--train-images {args.train_images}: must be at least 2")
    out = args.out or args.run or Path("runs/ideal")
    grids = []
    for dataset in grid.datasets:
        size = grid.images.resolution
        if args.run is None:
            size = own_resolution(dataset) or size
        images = Images(size, args.train_images, grid.images.validation)
        grids.append(replace(grid, datasets=(dataset,), images=images, model=replace(grid.model, patch=1)))
    return grids, names_of(grid, args.run is not None), list(dict.fromkeys(settings)), out


def names_of(grid: Grid, trained: bool) -> list[str]:
    """The formulations of a grid; ``trained`` if it is that of a run. Raises :class:`UserError`."""
    try:
        return list(expand(grid))
    except UserError as error:
        raise UserError("name the run's plugins with --plugin: " * trained + str(error)) from None


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args = parser().parse(argv)
    for file in args.plugin:
        load_plugin(file)
    grids, names, settings, out = planned(args)
    store.prepare(out, 0o755)  # before anything is computed
    found: list[Left] = []
    about: dict[str, Any] = {}
    for grid in grids:
        setup = make(grid.datasets[0], grid, pick_device("cpu"))
        found += measured(setup, names, settings, grid)
        about[setup.data.name] = {"train": len(setup.data.train.images), **setup.names()}
    kept = {"about": about, "guidance": None, **versions(), "left": [asdict(r) for r in found]}
    print(table(found))
    store.write_json(out / FILE, kept)
    figure(found, out / "ideal.png")
    print(f"\nno captions and no guidance; in {out}: {FILE}  ideal.png")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return outcome(lambda: command(argv), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
