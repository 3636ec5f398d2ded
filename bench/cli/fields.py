"""Options that say what an experiment is: each sets a field of :class:`config.experiment.Grid` or of one of its parts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import solvers
from bench.config import settings
from bench.config.experiment import Grid
from bench.config.presets import PRESETS, USUAL
from bench.config.settings import Setting
from flowbench._core.command import FLOAT, INT, number
from flowbench._core.errors import UserError

AUTO = object()
"""The value of an option that leaves its field None, which the text ``auto`` says."""


def setting(text: str) -> Setting:
    """A sampler setting, as argparse wants it."""
    try:
        return settings.parse(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def start(text: str) -> float | str:
    """``native``, or b / a as a number."""
    try:
        return text if text == "native" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not 'native' or a number, for example 80") from None


def size(text: str) -> Any:
    """``auto`` is :data:`AUTO`."""
    return AUTO if text == "auto" else number(int, "'auto' or a whole number")(text)


def datasets(values: Sequence[str]) -> list[str]:
    """``digits,shapes`` is two datasets; a comma after a colon belongs to a path or to options."""
    found = []
    for value in values:
        plain, colon, rest = value.partition(":")
        *names, last = plain.split(",")
        found += [*names, f"{last}{colon}{rest}"]
    return [name for name in found if name]


@dataclass(frozen=True)
class Option:
    """One option: its name, the field of the configuration that it sets, and how argparse reads it."""

    name: str
    help: str
    metavar: str
    type: Callable[[str], Any] = str
    several: bool = False
    field: str = ""

    @property
    def target(self) -> str:
        """The field it sets."""
        return self.field or self.dest

    @property
    def dest(self) -> str:
        """Its name among the arguments."""
        return self.name.replace("-", "_")


PRESET = Option("preset", f"{' | '.join(PRESETS)} (default {USUAL})", "NAME")
PLUGIN = Option(
    "plugin",
    "files that add formulations, samplers, solvers, metrics, ... (bench.plugins)",
    "FILE",
    Path,
    several=True,
)
GROUPS: tuple[tuple[str, str | None, tuple[Option, ...]], ...] = (
    (
        "what is compared",
        None,
        (
            Option(
                "formulations",
                "names, globs, a suite (paper, published, headline), or one of a file: my.py:late",
                "GLOB",
                several=True,
            ),
            Option("samplers", "cross every formulation with these timestep samplers", "GLOB", several=True),
            Option(
                "datasets",
                "shapes, scenes, digits, images:PATH, or of a plugin NAME[:option=value,...]",
                "DATA",
                several=True,
            ),
            Option("seeds", "seeds 0 .. N-1", "N", INT),
            Option("first-seed", "seeds FIRST .. FIRST+N-1", "FIRST", INT),
            Option(
                "text", "frozen text encoder of the captions: tinyclip, tinyclip:PATH, clip:PATH", "ENCODER"
            ),
        ),
    ),
    (
        "the model",
        "model",
        (
            Option(
                "model", "network, and options of its own", "TYPE[:option=value,...]", field="architecture"
            ),
            Option("depth", "blocks; width is 64 D and heads are D unless given", "D", INT),
            Option("width", "channels of both streams, or auto", "W", size),
            Option("heads", "attention heads, or auto", "N", size),
            Option("patch", "edge of a patch in pixels", "P", INT),
        ),
    ),
    (
        "sizes and budgets, each crossed with all the rest",
        None,
        (
            Option("depths", "several depths instead of --depth", "D", INT, several=True),
            Option(
                "budgets",
                "several numbers of training steps instead of --steps",
                "STEPS",
                INT,
                several=True,
            ),
        ),
    ),
    (
        "the images",
        "images",
        (
            Option("resolution", "edge of the square images", "PX", INT),
            Option("train-images", "training images, at most", "N", INT, field="train"),
            Option(
                "validation-images",
                "validation images, at most; FID's reference",
                "N",
                INT,
                field="validation",
            ),
        ),
    ),
    (
        "training",
        "training",
        (
            Option("steps", "training steps", "N", INT),
            Option("batch", "images a step", "B", INT),
            Option(
                "objective", "what is minimised: flow, the formulation's loss, or one of a plugin", "NAME"
            ),
            Option("optimiser", "adamw, muon, or one of a plugin", "NAME"),
            Option("lr", "peak learning rate", "X", FLOAT),
            Option("betas", "decay of the optimiser's two moments", "B", FLOAT, several=True),
            Option(
                "gradients",
                "each member's before the optimiser: as they are, of norm 1, or of norm X at most",
                "plain|normalised|clip:X",
            ),
            Option("warmup", "steps of linear warm-up", "N", INT),
            Option("decay", "share of the run over which the rate falls to zero", "SHARE", FLOAT),
            Option("weight-decay", "the optimiser's decoupled weight decay", "X", FLOAT),
            Option("ema", "time constant of the EMA as a share of the run", "SHARE", FLOAT),
            Option("dropout", "probability of dropping a caption", "P", FLOAT),
            Option("validations", "validations in a run", "N", INT),
            Option(
                "validation-batch",
                "images of a validation, a multiple of 8",
                "N",
                INT,
                field="validation_images",
            ),
            Option("precision", "of the network's matrix products", "float32|bf16"),
        ),
    ),
    (
        "evaluation",
        "evaluation",
        (
            Option(
                "settings",
                f"sampler settings, e.g. 50:1 5:5 5:5:ddim:clock; solver {', '.join(solvers.registry.entries)} or a "
                f"plugin's, grid native (each path's own) or clock",
                settings.FORM,
                setting,
                several=True,
            ),
            Option("weights", "which weights to sample with", "ema|raw", several=True),
            Option("samples", "images for each control setting", "N", INT),
            Option(
                "start",
                "where sampling starts: native, each path at pure noise if it can, else at b/a = 80; or all at one b/a",
                "native|X",
                start,
            ),
            Option(
                "extractor",
                "of CLIP and FID: tinyclip[:PATH], clip:PATH, torchmetrics:PATH, inception:PATH",
                "MODEL",
            ),
        ),
    ),
)
"""Every option by part of :class:`bench.config.experiment.Grid`; those without a part are fields of the grid itself."""
SWEEPS = {"depths": "depth", "budgets": "steps"}
"""Options for several values, each with the one for a single value that takes its place."""


def add_start(made: argparse.ArgumentParser) -> None:
    """Add the options that say from where an experiment starts: a preset, a file, plugins."""
    made.add_argument("--preset", default=USUAL, metavar=PRESET.metavar, help=PRESET.help)
    made.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file of options that say what the experiment is, by their names; config.toml of a run folder is one. "
        "The command line has precedence over it",
    )
    made.add_argument(
        "--plugin",
        nargs="+",
        action="extend",
        type=Path,
        default=[],
        metavar=PLUGIN.metavar,
        help=PLUGIN.help,
    )


def add_experiment(made: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Add every option of an experiment but some; these are set to None, which leaves the preset's."""
    for title, _, options in GROUPS:
        group = made.add_argument_group(f"{title} (default: the preset's)")
        for o in options:
            if o.name in without:
                made.set_defaults(**{o.dest: None})
                continue
            many = {"nargs": "+"} if o.several else {}
            group.add_argument(f"--{o.name}", type=o.type, metavar=o.metavar, help=o.help, **many)  # type: ignore[arg-type]


def override(grid: Grid, args: argparse.Namespace) -> Grid:
    """The preset with the options that were given. Raises :class:`UserError` for two that say the same."""
    changes: dict[str, Any] = {}
    first: dict[str, int] = {}
    for several, single in SWEEPS.items():
        many = getattr(args, several)
        if getattr(args, single) is not None:
            if many is not None:
                raise UserError(f"--{several} and --{single}: choose one")
            changes[several] = ()
        elif many and many[0] > 0:  # heads that fit the depths of a sweep need not fit the preset's depth
            first[single] = many[0]
    for _, part, options in GROUPS:
        values = {o.target: first.get(o.name, getattr(args, o.dest)) for o in options}
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if v is not None}
        given = {k: None if v is AUTO else v for k, v in given.items()}
        if part is None:
            if "datasets" in given:
                given["datasets"] = tuple(datasets(given["datasets"]))
            changes |= given
        elif given:
            changes[part] = replace(getattr(grid, part), **given)
    return replace(grid, **changes)
