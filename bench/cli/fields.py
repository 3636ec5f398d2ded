"""Options of an experiment: each sets a field of :class:`bench.config.experiment.Grid` or of one of its parts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bench import solvers
from bench.config import sampling_settings, stages
from bench.config.experiment import Grid
from bench.config.presets import PRESETS, USUAL
from bench.config.sampling_settings import Setting
from bench.config.time_grids import FORMS
from flowbench._core.command import FLOAT, INT, number
from flowbench._core.errors import UserError

AUTO = object()
"""The value of an option that leaves its field None, written ``auto``."""


def setting(text: str) -> Setting:
    """A sampler setting, as argparse wants it."""
    try:
        return sampling_settings.parse(text)
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
    target: str
    metavar: str
    help: str
    type: Callable[[str], Any] = str
    several: bool = False

    @property
    def dest(self) -> str:
        """Its name among the arguments."""
        return self.name.replace("-", "_")


PRESET = Option("preset", "preset", "NAME", f"{' | '.join(PRESETS)} (default {USUAL})")
PLUGIN = Option(
    "plugin",
    "plugin",
    "FILE",
    "files that add formulations, samplers, solvers, metrics, ... (bench.plugins)",
    Path,
    several=True,
)
STAGE = Option(
    "stage",
    "earlier",
    stages.FORM,
    "another stage of training after what the other options say, from its weights, by what changes: "
    "dataset=digits,steps=200,lr=1e-4; several follow each other",
    several=True,
)
TEXTS: dict[tuple[str, str | None], dict[str, tuple[str, str]]] = {
    ("what is compared", None): {
        "formulations": (
            "GLOB",
            "names, globs, a suite (paper, published, headline), or one of a file: my.py:late",
        ),
        "samplers": ("GLOB", "cross every formulation with these timestep samplers"),
        "datasets": ("DATA", "shapes, scenes, digits, images:PATH, or of a plugin NAME[:option=value,...]"),
        "seeds": ("N", "seeds 0 .. N-1"),
        "first_seed": ("FIRST", "seeds FIRST .. FIRST+N-1"),
        "text": ("ENCODER", "frozen text encoder of the captions: tinyclip, tinyclip:PATH, clip:PATH"),
    },
    ("the model", "model"): {
        "architecture": ("TYPE[:option=value,...]", "network, and options of its own"),
        "depth": ("D", "blocks; width is 64 D and heads are D unless given"),
        "width": ("W", "channels of both streams, or auto"),
        "heads": ("N", "attention heads, or auto"),
        "patch": ("P", "edge of a patch in pixels"),
    },
    ("networks, or sizes and budgets, crossed with all the rest", None): {
        "networks": ("TYPE", "several networks instead of --model"),
        "equal": (
            "size|parameters|flops",
            "what networks share with the first: depth and width, or a count at its depth",
        ),
        "depths": ("D", "several depths instead of --depth"),
        "budgets": ("STEPS", "several numbers of training steps instead of --steps"),
    },
    ("the images", "images"): {
        "resolution": ("PX", "edge of the square images"),
        "train": ("N", "training images, at most"),
        "validation": ("N", "validation images, at most; FID's reference"),
    },
    ("training", "training"): {
        "steps": ("N", "training steps"),
        "batch": ("B", "images a step"),
        "objective": ("NAME", "what is minimised: flow, the formulation's loss, or one of a plugin"),
        "optimiser": ("NAME", "adamw, muon, or one of a plugin"),
        "lr": ("X", "peak learning rate"),
        "betas": ("B", "decay of the optimiser's two moments"),
        "gradients": (
            "plain|normalised|clip:X",
            "each member's before the optimiser: as they are, of norm 1, or of norm X at most",
        ),
        "warmup": ("N", "steps of linear warm-up"),
        "decay": ("FRACTION", "of the run over which the rate falls to zero"),
        "weight_decay": ("X", "the optimiser's decoupled weight decay"),
        "ema": ("FRACTION", "time constant of the EMA as a fraction of the run"),
        "milestones": (
            "FRACTION",
            "of the run after which weights are kept, too, for --weights ema@FRACTION; part of a cell's identity",
        ),
        "dropout": ("P", "probability of dropping a caption"),
        "drop_encoders": (
            "P",
            "probability of dropping, in addition, what a network of --text sd3:... gives of a caption, each on its own",
        ),
        "dropped": (
            "zeros|empty",
            "what stands for a dropped caption: zeros, as in the study, or the encoded empty caption",
        ),
        "validations": ("N", "validations in a run"),
        "validation_images": ("N", "images of a validation, a multiple of 8"),
        "precision": ("float32|bf16", "of the network's matrix products"),
    },
    ("evaluation", "evaluation"): {
        "settings": (
            sampling_settings.FORM,
            f"sampler settings, e.g. 50:1 5:5 5:5:ddim:clock; solver {', '.join(solvers.registry.entries)} or a "
            f"plugin's, grid native (each path's own), {', '.join(FORMS[1:])}, or a FILE.txt with a table",
        ),
        "weights": (
            "ema|raw[@FRACTION]",
            "weights to sample with: of the smallest validation loss, with @ those of one of --milestones",
        ),
        "samples": ("N", "images for each control setting"),
        "start": (
            "native|X",
            "where sampling starts: native, each path at pure noise if it can, else at b/a = 80; or all at one b/a",
        ),
        "extractor": (
            "MODEL",
            "of CLIP and FID: tinyclip[:PATH], clip:PATH, torchmetrics:PATH, inception:PATH",
        ),
        "reference": (
            "validation|FILE",
            "what FID compares with: the validation images, or an .npz of others with arr_0, or mu and sigma",
        ),
    },
}
"""Metavar and help of each field of :class:`bench.config.experiment.Grid`, or of the named part of it, by title."""
NAMES = {
    "architecture": "model",
    "train": "train-images",
    "validation": "validation-images",
    "validation_images": "validation-batch",
}
"""Options that are not called as their field."""
READS: dict[Any, Callable[[str], Any]] = {
    int: INT,
    float: FLOAT,
    int | None: size,
    float | Literal["native"]: start,
    Setting: setting,
}
"""How a value of a field is read, by its type; every other is text."""


def option(hint: Any, field: str, metavar: str, text: str) -> Option:
    """The option of a field with a type."""
    several = get_origin(hint) is tuple
    reads = READS.get(get_args(hint)[0] if several else hint, str)
    return Option(NAMES.get(field, field.replace("_", "-")), field, metavar, text, reads, several)


def options(part: str | None, texts: Mapping[str, tuple[str, str]]) -> tuple[Option, ...]:
    """The options of a grid's own fields, or of those of a part."""
    hints = get_type_hints(get_type_hints(Grid)[part] if part else Grid)
    return tuple(option(hints[field], field, *text) for field, text in texts.items())


GROUPS = tuple((title, part, options(part, texts)) for (title, part), texts in TEXTS.items())
"""Every option, by title and part of the grid; without a part they are fields of the grid itself."""
SWEEPS = {"networks": "model", "depths": "depth", "budgets": "steps"}
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
    made.add_argument_group("stages").add_argument(
        f"--{STAGE.name}", nargs="+", action="extend", metavar=STAGE.metavar, help=STAGE.help
    )


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
        elif many and (
            isinstance(many[0], str) or many[0] > 0
        ):  # heads that fit these depths need not fit the preset's
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
    return reduce(stages.follow, args.stage or (), replace(grid, **changes))
