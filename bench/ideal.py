"""``python -m bench.ideal``: what the sampling grid alone does, by a perfect network, computed instead of trained.

For training images x_i that are equally likely the posterior mean of the image in ``x_t = a x + b n`` is a softmax:

    x^ = sum_i w_i x_i,   w = softmax_i(-|x_t - a x_i|^2 / (2 b^2)),   n^ = (x_t - a x^) / b

With it every path, solver and grid can be sampled, and the Fréchet distance that is left is the error of the steps: targets,
weights and timestep samplers have no part in it, so that formulations of one path and grid share their numbers.

With a caption the sum is over the training images that have it, ``x^_c``; guidance of scale g takes ``x^ + g (x^_c - x^)``,
as it does of a network's output, which is linear in x^ at a given x_t. A caption that no training image has is drawn
without.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench import data, solvers
from bench.config.experiment import Evaluation, Grid, Images
from bench.config.sampling_settings import Setting
from bench.encoders import features
from bench.machine.device import pick_device, versions
from bench.metrics import fid, kid
from bench.planning.cells import expand
from bench.runfolder import store
from bench.runfolder.manifest import FILES
from bench.sampling.generate import start_noise, step_noise
from bench.sampling.times import begun, times
from bench.worker.setup import Setup, make
from flowbench._core import atomic
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.terminal import many, markdown
from formulations import Formulation, get, load_plugin

log = logging.getLogger("bench.ideal")

FILE = "ideal.json"
"""In a run folder; :mod:`analysis.ranking.ideal_columns` reads it."""
STEPS = (5, 10, 25, 50)
GRIDS = ("native", "clock")
METHODS = tuple((solver, grid) for grid in GRIDS for solver in ("euler", "ddim"))


@dataclass(frozen=True)
class Left:
    """The distances that remain to a perfect network at a setting."""

    dataset: str
    formulation: str
    steps: int
    solver: str
    grid: str
    cfg: float
    fid: float
    kid: float


def posterior(
    images: Tensor, x_t: Tensor, a: Tensor, b: Tensor, named: Tensor | None = None, cfg: float = 1.0
) -> Tensor:
    """x^ ``[n, D]`` for noisy ``x_t [n, D]`` at the scalars a, b, if the data are ``images [N, D]``; float64. ``named``
    ``[n, N]`` marks the images that have the caption of each sample, by default all; ``cfg`` is the guidance scale."""
    scores = (a * (x_t @ images.T) - a**2 / 2 * images.square().sum(1)) / b**2
    if named is None:
        return torch.softmax(scores, 1) @ images
    clean = torch.softmax(scores.masked_fill(~named, -torch.inf), 1) @ images
    if cfg == 1:
        return clean
    free = torch.softmax(scores, 1) @ images
    return free + cfg * (clean - free)


def sample(
    images: Tensor, f: Formulation, setting: Setting, noise: Tensor, named: Tensor | None = None
) -> Tensor:
    """The images ``[n, D]`` that a perfect network draws from ``noise [n, D]``; ``named`` as for :func:`posterior`."""
    steps = solvers.get(setting.solver)(f, times(f, setting))
    at = f.point(steps.times)

    def decoded(k: int, x_t: Tensor) -> tuple[Tensor, Tensor]:
        clean = posterior(images, x_t, at.a[k], at.b[k], named, setting.cfg)
        return clean, (x_t - at.a[k] * clean) / at.b[k]

    fresh = step_noise(noise, len(steps.times)).double() if steps.fresh is not None else noise[None]
    return solvers.follow(steps, torch.hypot(at.a[0], at.b[0]) * noise, decoded, fresh.__getitem__)


def having(captions: Sequence[str], every: Sequence[Sequence[str]]) -> Tensor:
    """``[n, N]`` bool: which of N images, with ``every`` caption of each, have each of n captions; all for one that none
    has."""
    images = [frozenset(own) for own in every]
    rows = {caption: [caption in own for own in images] for caption in set(captions)}
    found = torch.tensor([rows[caption] for caption in captions])
    return found | ~found.any(1, keepdim=True)


def course(f: Formulation, setting: Setting) -> tuple[float, ...]:
    """All that a perfect network's samples depend on, rounded: formulations that share it share their samples."""
    steps = solvers.get(setting.solver)(f, times(f, setting))
    at = f.point(steps.times)
    fresh = () if steps.fresh is None else (steps.fresh,)
    parts = (at.a, at.b, steps.image.flatten(), steps.noise.flatten(), *fresh)
    return tuple(round(v, 9) for part in parts for v in part.tolist())


def measured(
    setup: Setup, names: Iterable[str], settings: Sequence[Setting], grid: Grid, captions: bool = True
) -> Iterator[Left]:
    """The distances of each formulation and setting to the reference images of a dataset, drawn with or without captions."""
    data, n = setup.data, grid.evaluation.samples
    if data.train.deviations is not None:
        raise UserError(
            f"{data.name} is drawn around means: its perfect network is computed for --posterior mean"
        )
    images = data.train.batch(np.arange(len(data.train))).double().flatten(1)
    shape = data.train.shape
    noise = start_noise(data.name, n, shape).double().flatten(1)
    named = having(setup.chosen, data.train.every()) if captions else None
    known: dict[tuple[float, ...], tuple[float, float]] = {}
    for name in names:
        f = begun(get(name), grid.evaluation.start)
        for setting in settings:
            key = (setting.cfg, *course(f, setting))
            if key not in known:
                drawn = sample(images, f, setting, noise, named).float().unflatten(1, shape)
                found = features(setup.extractor, data.decode(drawn))
                squared = kid.distance(found, setup.reference).value
                known[key] = fid.distance(found, setup.reference), squared
            how = (setting.steps, setting.solver, setting.grid, setting.cfg)
            yield Left(data.name, name, *how, *known[key])


def table(found: Sequence[Left]) -> str:
    """FID by formulation (rows) and steps, for each dataset, solver, grid and guidance, as Markdown."""
    parts = []
    for how in dict.fromkeys((r.dataset, r.solver, r.grid, r.cfg) for r in found):
        rows = [r for r in found if (r.dataset, r.solver, r.grid, r.cfg) == how]
        steps, (dataset, solver, grid, cfg) = sorted({r.steps for r in rows}), how
        fids = {(r.formulation, r.steps): f"{r.fid:.1f}" for r in rows}
        names = dict.fromkeys(r.formulation for r in rows)
        lines = markdown(
            ("formulation", *map(str, steps)), [(n, *(fids[n, k] for k in steps)) for n in names]
        )
        title = f"{dataset}, {solver} on the {grid} grid, guidance {cfg:g}: FID by steps"
        parts.append("\n".join([title, "", *lines]))
    return "\n\n".join(parts)


def figure(found: Sequence[Left], file: Path) -> None:
    """FID against steps: a row of panels for each dataset and guidance, a panel for each solver and grid; a line for each
    course."""
    from analysis.plots import files, legends, scales, style, widths

    kinds = list(dict.fromkeys((r.dataset, r.cfg) for r in found))
    methods = list(dict.fromkeys((r.solver, r.grid) for r in found))
    names = list(dict.fromkeys(r.formulation for r in found))
    values = {name: tuple(round(r.fid, 6) for r in found if r.formulation == name) for name in names}
    shown = {fids: [n for n in names if values[n] == fids] for fids in dict.fromkeys(values.values())}
    with style.styled():
        height = 1.9 * len(kinds) + legends.legend_height(widths.PAGE, len(shown))
        made = style.figure(widths.PAGE, height)
        panels = made.subplots(len(kinds), len(methods), squeeze=False, sharey="row")
        for row, (dataset, cfg) in zip(panels, kinds, strict=True):
            for panel, (solver, grid) in zip(row, methods, strict=True):
                for same in shown.values():
                    key = same[0], dataset, cfg, solver, grid
                    line = sorted(
                        (r.steps, r.fid)
                        for r in found
                        if (r.formulation, r.dataset, r.cfg, r.solver, r.grid) == key
                    )
                    panel.plot(*zip(*line, strict=True), **style.line(same[0]))
                panel.set_xscale("log")
                panel.set_yscale("log")
                ticks = sorted({r.steps for r in found})
                panel.set_xticks(ticks, [str(t) for t in ticks])
                panel.minorticks_off()
                scales.log_axis(panel.yaxis)
                panel.set_title(f"{widths.dataset_shown(dataset)}, {solver}, {grid} grid")
                panel.set_xlabel("sampling steps")
            guided = f", guidance {cfg:g}" if len({cfg for _, cfg in kinds}) > 1 else ""
            row[0].set_ylabel(f"FID of a perfect network{guided}")
        legends.legend(made, (), more={_label(same): style.line(same[0]) for same in shown.values()})
        atomic.write_whole(file, lambda path: made.savefig(path, dpi=files.DPI, facecolor="white"))


def _label(same: Sequence[str]) -> str:
    """The label of a line that several formulations share."""
    return same[0] if len(same) == 1 else f"{same[0]} and {many(len(same) - 1, 'other')}"


def parser() -> Parser:
    """The command's options."""
    made = Parser(prog="python -m bench.ideal", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    add, size = made.add_argument, Images().resolution
    run = "a run folder: its datasets, formulations and settings; leaves ideal.json there"
    add("run", nargs="?", type=Path, help=run)
    alone: dict[str, tuple[Any, str, str]] = {
        "datasets": (str, "DATA", f"(default digits scenes), at the size of their originals or at {size} px"),
        "formulations": (str, "GLOB", "(default published)"),
        "steps": (INT, "N", "(default 5 10 25 50)"),
        "cfg": (FLOAT, "G", "(default 1): guidance scales"),
    }
    for name, (kind, what, shown) in alone.items():
        add(f"--{name}", nargs="+", type=kind, metavar=what, help=f"without a run {shown}")
    add("--no-captions", action="store_true", help="draw without captions, and so without guidance")
    add("--samples", type=INT, metavar="N", help="without a run (default 1000)")
    add("--train-images", type=INT, default=2_000, metavar="N", help="of the posterior (default 2000)")
    add("--plugin", nargs="+", type=Path, default=[], metavar="FILE", help="as for bench.grid")
    add("--out", type=Path, metavar="DIR", help="folder for ideal.json and ideal.png (default the run's)")
    return made


def planned(args: argparse.Namespace) -> tuple[list[Grid], list[str], list[Setting], Path]:
    """A grid for each dataset, the formulations, the settings, and where the result goes. Raises :class:`UserError`."""
    if args.run is not None:
        for name in ("datasets", "formulations", "steps", "cfg", "samples"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name} is the run's: leave it out with {args.run}")
        if not (args.run / FILES["rank"]).is_file():
            raise UserError(f"{args.run} is no run folder: `python -m bench.grid` makes runs/quick")
        grid = store.read_config(args.run / FILES["rank"], "grid", Grid)
        grid = replace(grid, evaluation=replace(grid.evaluation, metrics=()))  # it has two of its own
        settings = [s for s in grid.evaluation.settings if s.usual]
        if not settings:
            raise UserError(
                f"{args.run} has no sampler setting of a perfect network: one without drop=, guide= and rule="
            )
    else:
        evaluation = Evaluation(samples=1_000 if args.samples is None else args.samples)
        grid = Grid(
            tuple(args.formulations or ("published",)),
            datasets=tuple(args.datasets or ("digits", "scenes")),
            evaluation=evaluation,
        )
        scales, steps = args.cfg or (1.0,), args.steps or STEPS
        settings = [Setting(n, cfg, *how) for cfg in scales for how in METHODS for n in steps]
    if args.no_captions and any(s.cfg != 1 for s in settings):
        if args.run is None:
            raise UserError("--cfg and --no-captions: choose one, as guidance needs a caption")
        settings = list(dict.fromkeys(replace(s, cfg=1.0) for s in settings))
    if args.train_images < 2:
        raise UserError(f"--train-images {args.train_images}: must be at least 2")
    out = args.out or args.run or Path("runs/ideal")
    grids = []
    for dataset in grid.datasets:
        size = grid.images.resolution
        if args.run is None:
            size = data.get(dataset).edge or size
        images = Images(size, args.train_images, grid.images.validation)
        grids.append(replace(grid, datasets=(dataset,), images=images, model=replace(grid.model, patch=1)))
    return grids, names_of(grid, settings, args.run is not None), list(dict.fromkeys(settings)), out


def names_of(grid: Grid, settings: Iterable[Setting], trained: bool) -> list[str]:
    """The formulations of a grid, whose ``settings`` have solvers; ``trained`` if it is that of a run. Raises
    :class:`UserError`."""
    try:
        for setting in settings:
            setting.check()
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
        found += measured(setup, names, settings, grid, not args.no_captions)
        known = set() if args.no_captions else set(setup.data.train.texts())
        lacking = sum(caption not in known for caption in setup.chosen)
        about[setup.data.name] = {"train": len(setup.data.train), **setup.names()}
        about[setup.data.name]["captions"] = {"drawn": len(setup.chosen), "without": lacking}
        if lacking and not args.no_captions:
            shown = f"{grid.datasets[0]}: {lacking} of {many(len(setup.chosen), 'caption')} have no training image"
            log.info("%s among %s, and are drawn without", shown, f"{len(setup.data.train):,}")
    kept = {"about": about, **versions(), "left": [asdict(r) for r in found]}
    print(table(found))
    atomic.write_json(out / FILE, kept)
    figure(found, out / "ideal.png")
    print(f"\nin {out}: {FILE}  ideal.png")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return outcome(lambda: command(argv), "interrupted")


if __name__ == "__main__":
    sys.exit(main())
