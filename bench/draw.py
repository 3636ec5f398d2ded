"""``python -m bench.draw RUN FORMULATION "a caption"``: pictures from a trained cell, as a PNG. The folder of a kept model
(`bench.keep`) is named without a formulation."""

from __future__ import annotations

import argparse
import math
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formulations
from bench import solvers
from bench.config.experiment import Cell
from bench.config.settings import Setting, Weights
from bench.runfolder import store
from flowbench._core import atomic
from flowbench._core.command import FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError, nearest
from flowbench._core.grammar import numbers_in_glob

if TYPE_CHECKING:
    import torch

SIDE = 128
"""Pictures are enlarged by a whole number to about so many pixels."""
MOST = 256
"""Pictures at most."""


@dataclass(frozen=True)
class Trained:
    """A cell with weights, and its folder."""

    cell: Cell
    folder: Path


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(argv))


def parser() -> Parser:
    """The command's options."""
    made = Parser(prog="python -m bench.draw", description=__doc__, allow_abbrev=False)
    made.add_argument("run", type=Path, help="run folder, or that of a kept model")
    made.add_argument(
        "formulation", nargs="?", help="a formulation that was trained there; of a kept model none"
    )
    made.add_argument("caption", help="what to draw")
    made.add_argument("--steps", type=INT, default=25, metavar="N", help="solver steps (default 25)")
    made.add_argument("--cfg", type=FLOAT, default=2.5, metavar="X", help="guidance scale (default 2.5)")
    known = ", ".join(solvers.registry.entries)
    made.add_argument(
        "--solver", default="euler", metavar="NAME", help=f"{known}, or a plugin's (default euler)"
    )
    made.add_argument("--grid", default="native", metavar="NAME", help="native or clock (default native)")
    made.add_argument("--n", type=INT, default=8, metavar="N", help="pictures (default 8)")
    made.add_argument(
        "--seed", type=INT, default=0, metavar="N", help="of the noise to start from (default 0)"
    )
    made.add_argument("--weights", default="ema", metavar="ema|raw", help="which weights (default ema)")
    made.add_argument("--dataset", metavar="DATA", help="which of a run's datasets")
    made.add_argument("--cell", metavar="ID", help="which cell (default: the first seed)")
    made.add_argument("--plugin", nargs="+", type=Path, default=[], metavar="FILE", help="as for bench.grid")
    made.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="PNG (default drawing.png, or drawing-2.png, ... if that is there)",
    )
    return made


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    made = parser()
    args, unknown = made.parse_known_intermixed_args(argv)  # else options between words end the optional one
    made.check_unknown(unknown)
    for file in args.plugin:
        formulations.load_plugin(file)
    setting = Setting(args.steps, args.cfg, args.solver, args.grid)
    setting.check()
    if args.weights not in ("ema", "raw"):
        raise UserError(f"--weights {args.weights!r}: choose from 'ema', 'raw'")
    if not 1 <= args.n <= MOST:
        raise UserError(f"--n {args.n}: choose 1 to {MOST} pictures")
    out: Path | None = args.out
    if out and (out.suffix.lower() != ".png" or not out.absolute().parent.is_dir()):
        raise UserError(f"--out {out}: name a .png file in a folder that is there")
    chosen = choose(trained(args.run), asked(args), args.dataset, args.cell)
    if not (chosen.folder / f"{args.weights}.safetensors").exists():
        raise UserError(f"--weights {args.weights}: {chosen.folder} keeps other weights only")
    images = draw(chosen, args.caption, setting, args.weights, partial(noise, args.n, args.seed))
    out = out or unused()
    write(images, out)
    cell = chosen.cell
    print(
        f"{out}: {args.n} of {args.caption!r} by {cell.formulation} trained on {cell.dataset}, seed {cell.seed} "
        f"(cell {cell.id}); {args.weights} weights, sampler setting {setting.key}"
    )
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


def is_kept(folder: Path) -> bool:
    """Whether a folder holds one model (`bench.keep`)."""
    return (folder / "config.json").is_file() and (folder / "ema.safetensors").is_file()


def unused() -> Path:
    """``drawing.png``, or with a number if that is there; the file is made at once, so that no other command takes it."""
    names = (Path(f"drawing-{i}.png" if i > 1 else "drawing.png") for i in count(1))
    for path in names:
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError


def trained(run: Path) -> list[Trained]:
    """The cells of a run folder that have weights, or a kept model. Raises :class:`UserError` if there are none."""
    folders = [run] if is_kept(run) else sorted(file.parent for file in run.glob("cells/*/ema.safetensors"))
    found = [Trained(store.read_config(f / "config.json", "cell", Cell), f) for f in folders]
    if not found:
        what = "holds no trained cell yet" if (run / "cells").is_dir() else "is no run folder"
        raise UserError(f"{run} {what}: `python -m bench.grid` makes runs/quick")
    return sorted(found, key=lambda t: (t.cell.formulation, t.cell.dataset, t.cell.seed))


def choose(cells: Sequence[Trained], name: str, dataset: str | None, cell: str | None) -> Trained:
    """The cell to draw from. Raises :class:`UserError` for none, naming the nearest, and for several that differ in more
    than their seed, naming the option that chooses."""
    names = sorted({t.cell.formulation for t in cells})
    try:
        canonical = formulations.get(name).name
    except UserError:  # of a plugin, perhaps, which is loaded later
        canonical = numbers_in_glob(name)
    if canonical not in names:
        raise UserError(f"no cell of {name!r} is trained in this run; {nearest(canonical, names)}")
    fit = [t for t in cells if t.cell.formulation == canonical]
    there = sorted({t.cell.dataset for t in fit})
    if dataset is not None and dataset not in there:
        raise UserError(f"--dataset {dataset!r}: {nearest(dataset, there)}")
    if dataset is None and len(there) > 1 and cell is None:
        raise UserError(f"{canonical} is trained on {', '.join(there)}: choose one with --dataset")
    fit = [t for t in fit if dataset in (None, t.cell.dataset)]
    ids = [t.cell.id for t in fit]
    if cell is not None:
        if cell not in ids:
            raise UserError(f"--cell {cell!r} is none of {canonical}'s; {nearest(cell, ids)}")
        return fit[ids.index(cell)]
    first = [t for t in fit if t.cell.seed == fit[0].cell.seed]
    if len(first) > 1:
        sizes = ", ".join(
            f"{t.cell.id} (depth {t.cell.model.depth}, {t.cell.training.steps} steps)" for t in first
        )
        raise UserError(f"{len(first)} cells of {canonical} fit: choose one with --cell: {sizes}")
    return first[0]


def noise(count: int, seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Noise ``[count, C, H, W]`` to start from; the first are the same however many there are."""
    import torch

    from bench.config.seeds import seed_for

    generator = torch.Generator().manual_seed(seed_for("draw", seed))
    return torch.randn((count, *shape), generator=generator)


def draw(
    chosen: Trained,
    caption: str,
    setting: Setting,
    weights: Weights,
    noise: Callable[[tuple[int, int, int]], torch.Tensor],
) -> torch.Tensor:
    """Pictures of a caption, uint8 ``[n, C, H, W]``, from ``noise`` of the given ``(C, H, W)``, ``[n, C, H, W]``.

    Raises :class:`UserError` for words that the text encoder does not know, and for data, an encoder or a formulation that
    have changed since the cell was trained.
    """
    import torch

    from bench.data import load
    from bench.encoders import text
    from bench.machine.device import pick_device
    from bench.models import Shape
    from bench.models.flat import Flat
    from bench.sampling.generate import generate
    from bench.worker import provenance
    from bench.worker.setup import load_text_encoder

    cell, device = chosen.cell, pick_device("auto")
    encoder: Any = load_text_encoder(cell.text, device)
    check_words(encoder, caption)
    kept = atomic.read_object(chosen.folder / "config.json")
    try:
        formulation = formulations.get(cell.formulation)
    except UserError as error:
        raise UserError(f"name the run's plugins with --plugin: {error}") from None
    provenance.verify_formulation(chosen.folder, formulation)
    provenance.verify_network(chosen.folder, cell)
    data = load(
        cell.dataset,
        resolution=cell.images.resolution,
        train=cell.images.train,
        validation=cell.images.validation,
    )
    for what, then, now in (
        ("dataset", kept.get("data"), data.digest),
        ("text encoder", kept.get("text_encoder"), encoder.name),
    ):
        if then != now:
            raise UserError(f"the {what} has changed since {chosen.folder} was trained ({then}, now {now})")
    # padding that no caption uses was cut off, so the longest one decides how many tokens the network has seen
    texts = data.train.texts() + data.validation.texts()
    longest = max(texts, key=lambda c: len(c.split())), max(texts, key=len)
    captions = text.encode(encoder, [caption, *longest], device)
    _, length, width = captions.tokens.shape
    model_width, heads = cell.model.sizes
    channels, side, _ = data.train.shape
    sizes = (channels, length, width, captions.pooled.shape[1])
    shape = Shape(
        cell.model.depth, model_width, heads, cell.model.patch, side, *sizes, cell.model.architecture
    )
    model = shape.build().to(device)
    flat = Flat(model)
    matrix = (
        flat.row(atomic.read_tensors(chosen.folder / f"{weights}.safetensors")[0])[None].float().to(device)
    )
    start = noise((channels, side, side))
    rows = captions.rows([caption] * len(start))
    parts = generate(
        model, flat, matrix, [formulation], captions, rows, start, setting, cell.training.precision
    )
    return torch.cat([data.decode(part.images).cpu() for part in parts], dim=1)[0]


def check_words(encoder: Any, caption: str) -> None:
    """Raises :class:`UserError` for an empty caption, one that is not read to its end, and for words that a ``tinyclip``
    was not trained on."""
    if not caption.strip():
        raise UserError("the caption is empty: say what to draw")
    if encoder.cut([caption]):
        raise UserError(
            f"caption {textwrap.shorten(caption, 80)!r}: the text encoder does not read so many words, choose fewer"
        )
    from bench.encoders.tokenizer import SPECIAL

    tokenizer = getattr(encoder, "tokenizer", None)
    if hasattr(encoder, "unknown_words") and tokenizer is not None:
        for word in caption.split():
            if encoder.unknown_words([word]):
                known = [each for each in tokenizer.words if each not in SPECIAL]
                raise UserError(
                    f"caption {caption!r}: the text encoder does not know the word {word!r}; "
                    f"{nearest(word.lower(), known)}"
                )


def write(images: torch.Tensor, path: Path) -> None:
    """Write pictures side by side, in rows of about a square, enlarged by a whole number without smoothing."""
    import numpy as np
    from PIL import Image

    count, channels, height, width = images.shape
    columns = min(count, max(8, math.ceil(math.sqrt(count))))
    rows, scale = math.ceil(count / columns), max(1, SIDE // width)
    gap = 1 if scale == 1 else scale // 4 or 1
    high, wide = height * scale + gap, width * scale + gap
    sheet = np.full((rows * high - gap, columns * wide - gap, 3), 255, np.uint8)
    pixels = images.expand(-1, 3, -1, -1) if channels == 1 else images
    for i, picture in enumerate(pixels.permute(0, 2, 3, 1).numpy()):
        top, left = high * (i // columns), wide * (i % columns)
        large = picture.repeat(scale, axis=0).repeat(scale, axis=1)
        sheet[top : top + high - gap, left : left + wide - gap] = large
    atomic.write_whole(path, lambda temporary: Image.fromarray(sheet).save(temporary, "PNG"))


if __name__ == "__main__":
    sys.exit(main())
