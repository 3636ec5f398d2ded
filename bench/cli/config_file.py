"""An experiment as a TOML file: ``--config FILE`` reads one, and every run folder has that of its last command. No torch.

    preset = "paper"
    formulations = ["rf", "edm*"]
    settings = ["50:1", "5:5:ddim"]
    steps = 2000

Keys are ``preset``, ``plugin`` and the options of :data:`bench.cli.fields.GROUPS`, without tables; a value is what stands
behind the option, a list where that takes several. The preset is the base, the file has precedence over it, and the command
line over both. Relative paths start where the command runs, or from the key ``directory``: a run's own file has there where
its command ran, so that it works from everywhere.
"""

from __future__ import annotations

import argparse
import json
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.cli.fields import GROUPS, PLUGIN, PRESET, STAGE, SWEEPS, Option
from bench.config import stages, time_grids
from bench.config.experiment import VALIDATION
from bench.config.sampling_settings import Setting
from bench.planning.plan import Plan, formulations_of
from flowbench._core.errors import UserError, nearest

NAME = "config.toml"
"""Of the file in a run folder."""
HEADER = "# The experiment of the last command in this folder: python -m bench.grid --config FILE --out DIR repeats it.\n"
DIRECTORY = "directory"
"""The key of the folder that relative paths start from."""
SPECS = ("datasets", "text", "extractor")
"""Options whose values may have a path behind a colon."""
SETTINGS = "settings"
REFERENCE = "reference"
"""The option whose value is a path, or the word for none."""
WIDTH = 110
"""Characters of a line; a longer list has a line for each item."""


def set_defaults(made: argparse.ArgumentParser, argv: Sequence[str], without: Collection[str] = ()) -> None:
    """Let the file that the command line names with ``--config``, if any, give the options' defaults.

    ``without`` are options that the command lacks. Raises :class:`UserError` for a file that cannot be read, a key that is
    no such option, and a value that the option refuses.
    """
    given = made.parse_known_args(argv)[0]
    if given.config is None:
        return
    known = [
        PRESET,
        PLUGIN,
        STAGE,
        *(o for _, _, options in GROUPS for o in options if o.name not in without),
    ]
    found = read(given.config, {o.name: o for o in known})
    for pair in SWEEPS.items():
        if any(getattr(given, name) is not None for name in pair):
            found = {name: value for name, value in found.items() if name not in pair}
    made.set_defaults(**found)


def read(file: Path, known: Mapping[str, Option]) -> dict[str, Any]:
    """The arguments in a file, as argparse would make them. Raises :class:`UserError`."""
    try:
        kept = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {file}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"--config {file} is not TOML: {error}") from None
    directory = Path(str(kept.pop(DIRECTORY, Path.cwd())))
    for key, value in kept.items():
        if isinstance(value, dict):
            raise UserError(
                f"--config {file}: [{key}] is a table, and options are written without: NAME = VALUE"
            )
        if key not in known:
            raise UserError(f"--config {file}: unknown key {key!r}: {nearest(key, known)}")
    try:
        if directory != Path.cwd():
            kept = {key: placed(key, value, directory) for key, value in kept.items()}
        return {known[key].dest: parsed(known[key], value) for key, value in kept.items()}
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--config {file}: {error}") from None


def placed(key: str, value: Any, directory: Path) -> Any:
    """A value with the relative paths in it absolute, below ``directory``.

    Only for another folder than the present one: ids of cells are of the words that name their data and encoders, so a
    command in the same place must read the same words.
    """
    if isinstance(value, list):
        return [placed(key, item, directory) for item in value]
    if key == PLUGIN.name or (key == REFERENCE and value != VALIDATION):
        return below(directory, str(value))
    if key == SETTINGS:
        parts = str(value).split(":")
        return ":".join(below(directory, p) if p.endswith(time_grids.SUFFIX) else p for p in parts)
    if key == STAGE.name:
        pairs = stages.pairs(str(value))
        return ",".join(
            f"{k}={placed('datasets', v, directory) if k == 'dataset' else v}" for k, v in pairs.items()
        )
    if key in SPECS and isinstance(value, str):
        name, colon, rest = value.partition(":")
        whole = below(directory, rest)
        if whole == rest:  # not one path, but perhaps several, as in PATH,autoencoder=FOLDER
            whole = ",".join(placed_option(part, directory) for part in rest.split(","))
        return f"{name}{colon}{whole}" if rest else value
    return value


def placed_option(part: str, directory: Path) -> str:
    """``PATH`` or ``option=PATH`` with the path below a directory if it is there; a number is none."""
    name, equals, path = part.rpartition("=")
    return f"{name}{equals}{below(directory, path)}" if path and not path.isdecimal() else part


def below(directory: Path, path: str) -> str:
    """A relative path below a directory, if it is there or a pattern; else the text, which may be no path."""
    if "://" in path:
        return path
    there = directory / path
    return str(there) if there.exists() or re.search(r"[*?{\[]", path) else path


def parsed(option: Option, value: Any) -> Any:
    """What argparse would make of a value behind its option. Raises `argparse.ArgumentTypeError`."""
    items = value if option.several and isinstance(value, list) else [value]
    if not items:
        raise argparse.ArgumentTypeError(f"argument --{option.name}: expected at least one argument")
    try:
        made = [
            option.type(item if isinstance(item, str) else json.dumps(item, default=str)) for item in items
        ]
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"argument --{option.name}: {error}") from None
    return made if option.several else made[0]


def text(planned: Plan, plugins: Sequence[Path]) -> str:
    """The experiment of a plan as a file: a command that reads it plans the same cells, whatever its preset.

    Of a race these are those of all formulations on all seeds.
    """
    grid = replace(stages.first(planned.grid), formulations=formulations_of(planned), samplers=())
    written = HEADER + line(DIRECTORY, str(Path.cwd()))
    written += line(PLUGIN.name, [str(file) for file in plugins]) if plugins else ""
    swept = {single for several, single in SWEEPS.items() if getattr(grid, several)}
    for title, part, options in GROUPS:
        values = {o.name: plain(getattr(getattr(grid, part) if part else grid, o.target)) for o in options}
        lines = [line(k, v) for k, v in values.items() if v != [] and k not in swept]
        written += "".join([f"\n# {title}\n", *lines]) if lines else ""
    return written + (line(STAGE.name, stages.texts(planned.grid)) if planned.grid.earlier else "")


def plain(value: Any) -> Any:
    """A field as a file has it."""
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Setting):
        return value.key
    return "auto" if value is None else value


def line(key: str, value: Any) -> str:
    """``key = value``. Text, numbers and lists of them are the same in TOML and JSON, but for the character DEL."""
    found = f"{key} = {json.dumps(value, ensure_ascii=False)}"
    if len(found) > WIDTH:
        found = f"{key} = {json.dumps(value, ensure_ascii=False, indent=4)}"
    return found.replace("\x7f", "\\u007f") + "\n"
