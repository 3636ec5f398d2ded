"""``python -m bench.draw RUN FORMULATION "a caption"``: images from a trained cell, as a PNG; with ``--prompts FILE`` images
of the prompts of GenEval or PartiPrompts, in a folder. A kept model (`bench.keep`) is named without a formulation."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formulations
from bench import solvers
from bench.config.sampling_settings import FIELDS, Setting
from bench.config.time_grids import FORMS
from bench.drawing import MOST, Trained, batches, choose, is_kept, noise, prompts, shown, trained, write
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.terminal import many

if TYPE_CHECKING:
    import torch

SOLVERS = ", ".join(solvers.registry.entries)
SAMPLING: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "n": (INT, "N", "images"),
    "steps": (INT, "N", "solver steps"),
    "cfg": (FLOAT, "X", "guidance scale"),
    "solver": (str, "NAME", f"{SOLVERS}, or a plugin's"),
    "grid": (str, "NAME", f"{', '.join(FORMS)}, or a FILE.txt with a table"),
    "drop": (str, "NAMES", "networks of the text encoder to leave out, as t5 or clip_g+t5"),
    "guide": (str, "FROM-TO", "clocks b/(a+b) between which guidance acts, as 0.1-0.7"),
    "rule": (str, "cfg|cfg++", "of guidance; cfg++ has scales up to 1"),
    "seed": (INT, "N", "of the noise to start from"),
    "weights": (str, "ema|raw[@FRACTION]", "which weights"),
}
"""Options that are arguments of :meth:`bench.drawing.Trained.sample`, with type, metavar and help."""
COUNT, EACH = 8, 4
"""Images by default: of a caption, and of each of several prompts."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(argv))


def parser() -> Parser:
    """The command's options."""
    made = Parser(prog="python -m bench.draw", description=__doc__)
    made.add_argument("run", type=Path, help="run folder, or that of a kept model")
    made.add_argument(
        "formulation", nargs="?", help="a formulation that was trained there; of a kept model none"
    )
    made.add_argument("caption", nargs="?", help="what to draw")
    usual = {name: p.default for name, p in inspect.signature(Trained.sample).parameters.items()} | {
        "n": None
    }
    for name, (kind, metavar, text) in SAMPLING.items():
        default = f"{COUNT}, of each prompt {EACH}" if usual[name] is None else usual[name]
        text = f"{text} (default {default})"
        made.add_argument(f"--{name}", type=kind, default=usual[name], metavar=metavar, help=text)
    made.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="instead of a caption: a .jsonl of GenEval or a .tsv of PartiPrompts",
    )
    made.add_argument("--dataset", metavar="DATA", help="which of a run's datasets")
    made.add_argument("--cell", metavar="ID", help="which cell (default: the first seed)")
    made.add_argument("--plugin", nargs="+", type=Path, default=[], metavar="FILE", help="as for bench.grid")
    made.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="PNG (default drawing.png, or drawing-2.png, ... if that is there); of prompts a folder",
    )
    return made


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = parser()
    args, unknown = made.parse_known_intermixed_args(argv)  # else options between words end the optional one
    made.check_unknown(unknown)
    for file in args.plugin:
        formulations.load_plugin(file)
    if args.prompts:
        return draw_prompts(args)
    if args.caption is None:
        args.formulation, args.caption = None, args.formulation
    if args.caption is None:
        raise UserError("say what to draw: a caption, or --prompts FILE")
    args.n, out = COUNT if args.n is None else args.n, args.out
    if out and (out.suffix.lower() != ".png" or not out.absolute().parent.is_dir()):
        raise UserError(f"--out {out}: name a .png file in a folder that is there")
    chosen = choose(trained(args.run), asked(args), args.dataset, args.cell)
    write(
        chosen.sample(args.caption, **{name: getattr(args, name) for name in SAMPLING}),
        out := out or unused(),
    )
    print(f"{out}: {args.n} of {args.caption!r} by {source(args, chosen)}")
    return 0


def setting_of(args: argparse.Namespace, chosen: Trained) -> Setting:
    """The sampler setting that is asked for. Raises :class:`UserError`."""
    return chosen.setting(**{f: getattr(args, f) for f in FIELDS})


def source(args: argparse.Namespace, chosen: Trained) -> str:
    """What draws, in words."""
    cell, setting = chosen.cell, setting_of(args, chosen)
    return (
        f"{cell.formulation} trained on {cell.dataset}, seed {cell.seed} (cell {cell.id}); {args.weights} weights, "
        f"sampler setting {setting.key}"
    )


def draw_prompts(args: argparse.Namespace) -> int:
    """Draw the images of a file of prompts that its folder lacks. Raises :class:`UserError`."""
    if args.caption is not None:
        raise UserError("--prompts and a caption: choose one")
    if args.out is None:
        raise UserError("--prompts needs --out: name a folder for the images")
    n, found = EACH if args.n is None else args.n, prompts.read(args.prompts)
    if not 1 <= n <= MOST:
        raise UserError(f"--n {n}: choose 1 to {MOST} images of each prompt")
    chosen = choose(trained(args.run), asked(args), args.dataset, args.cell)
    args.weights = chosen.kept(args.weights)
    setting = setting_of(args, chosen)
    about = {
        "by": source(args, chosen),
        "seed": args.seed,
        "images": n,
        "prompts": [prompt.about for prompt in found],
    }
    prompts.check(args.out, about)
    rows = [number * n + i for number in prompts.lacking(args.out, found) for i in range(n)]
    if rows:

        def start(shape: tuple[int, int, int]) -> torch.Tensor:
            return noise(len(found) * n, args.seed, shape)[rows]

        captions = [found[row // n].text for row in rows]
        drawn = batches(chosen, captions, setting, args.weights, start)
        prompts.write(args.out, found, about, map(shown, drawn))
    print(f"{args.out}: {n} of each of {many(len(found), 'prompt')} by {about['by']}")
    return 0


def asked(args: argparse.Namespace) -> str:
    """The formulation to draw from. Raises :class:`UserError` if none is named, or one in front of a model that is one."""
    if is_kept(args.run):
        if args.formulation is not None:
            raise UserError(f"{args.run} is one model: leave {args.formulation!r} out")
        return trained(args.run)[0].cell.formulation
    if args.formulation is None:
        names = sorted({t.cell.formulation for t in trained(args.run)})
        raise UserError(f"name a formulation of {args.run} before the caption: {', '.join(names)}")
    return str(args.formulation)


def unused() -> Path:
    """``drawing.png``, or with a number if that is there; the file is made at once, so that no other command takes it."""
    names = (Path(f"drawing-{i}.png" if i > 1 else "drawing.png") for i in count(1))
    for path in names:
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError


if __name__ == "__main__":
    sys.exit(main())
