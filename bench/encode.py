"""The command ``python -m bench.encode``: latents and captions once, in a folder that ``--datasets encoded:PATH`` reads.

It encodes a dataset, or converts latents that others have encoded; ``--text`` encodes their captions. The same command again
does what is left, after an interruption at any point; several processes may share the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from bench import data, encoders
from bench.cost.estimate import size
from bench.data.encoding.find_latents import find
from bench.data.encoding.from_images import EncodedImages, held_out_of
from bench.data.encoding.from_latents import ConvertedLatents
from bench.data.encoding.latent_source import ReadingOptions
from bench.data.encoding.write_latents import Part, described, summary, write
from bench.data.latent_store import EncodingRecipe, Posterior, check_shards, distinct_captions, read_index
from bench.data.sources.classes import read_numbered
from bench.encoders import caption_index
from flowbench._core.command import COUNT, FLOAT, INT, Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import short

if TYPE_CHECKING:
    from bench.pretrained.frozen_autoencoder import Autoencoder

EXAMPLES = """examples:
  python -m bench.encode --data images:PATH --resolution 256 --autoencoder stabilityai/sd-vae-ft-mse --out encoded
  python -m bench.encode --latents edm2.zip --classes names.txt --autoencoder stabilityai/sd-vae-ft-mse --out encoded
  python -m bench.encode --text sd3:clip_l=PATH,clip_g=PATH,t5=PATH --out encoded
  python -m bench.grid --datasets encoded:encoded --resolution 256 --patch 2 --dry-run
  python -m bench.encode --check encoded"""
ONLY = {
    "data": ("validation_data", "resolution", "batch", "plugin"),
    "latents": ("classes", "columns", "range", "scaled", "flips"),
}
"""Options that belong to one of the two sources."""
OF_TEXT = ("text", "out", "device", "part", "plugin")
"""Options by which captions are encoded without a source."""
PARTS = "{}: shards of other parts are not there yet; the command without --part ends the work"


def parser() -> Parser:
    """The options."""
    p = Parser(prog="python -m bench.encode", description=__doc__, epilog=EXAMPLES)
    add = p.add_argument
    add(
        "--autoencoder",
        metavar="PATH",
        help="an autoencoder of diffusers: its folder, or its name in your cache",
    )
    add("--out", type=Path, metavar="DIR", help="the folder to write")
    add(
        "--text",
        metavar="ENCODER",
        help="as --text of bench.grid: encode the captions, too; without a source, those of the latents in --out",
    )
    add(
        "--train",
        type=INT,
        metavar="N",
        help="training images, at most (default: all; 20,000 of generated ones)",
    )
    add(
        "--validation", type=INT, default=2_000, metavar="N", help="held-out images, at most (default: 2,000)"
    )
    posterior = (
        "what is stored of a latent's distribution: its mean; one sample, drawn by a fixed seed; or mean+std, in twice the "
        "space, to be drawn at each training step (default: mean; sample where others have stored samples)"
    )
    add("--posterior", choices=get_args(Posterior), metavar="P", help=posterior)
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add(
        "--part",
        default="1/1",
        metavar="I/N",
        help="encode every Nth shard from the Ith on; then once more without it",
    )
    add("--dry-run", action="store_true", help="print what would be written, and its size")
    add(
        "--check",
        type=Path,
        metavar="DIR",
        help="verify every shard of a finished folder, and encode nothing",
    )
    images = p.add_argument_group("images")
    images.add_argument("--data", metavar="SPEC", help="as --datasets of bench.grid: what is encoded")
    images.add_argument(
        "--validation-data", metavar="SPEC", help="another dataset for the held-out images: COCO in the study"
    )
    images.add_argument("--resolution", type=INT, metavar="R", help="edge of the images (default: 256)")
    images.add_argument(
        "--batch", type=COUNT, metavar="B", help="images that are encoded at once (default: 16)"
    )
    images.add_argument("--plugin", nargs="+", metavar="FILE", help="plugin files, for a dataset of yours")
    latents = p.add_argument_group("latents of others")
    latents.add_argument(
        "--latents",
        type=Path,
        metavar="PATH",
        help="EDM2's zip or folder, LightningDiT's safetensors, or a folder of MDS",
    )
    latents.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help='names of the classes by number, for captions such as "a photo of a tench" (default: "class 0")',
    )
    latents.add_argument(
        "--columns",
        nargs="+",
        metavar="USE=NAME",
        help="columns of MDS by their use: latents, and caption, name (of a class) or label (its number)",
    )
    latents.add_argument(
        "--range",
        type=FLOAT,
        metavar="R",
        help="difference between the values of 255 and 0, of latents in 8 bits",
    )
    latents.add_argument(
        "--scaled",
        action="store_true",
        default=None,
        help="they are multiplied by the autoencoder's scaling already",
    )
    latents.add_argument(
        "--flips", action="store_true", default=None, help="train on LightningDiT's flipped latents, too"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 2 after one sentence about a user's mistake."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """Encode, convert, or check."""
    args = parser().parse(argv)
    if args.check:
        return check_folder(args)
    alone = args.text and not (args.data or args.latents)
    (check_text if alone else check_source)(args)
    for file in args.plugin or ():
        load_plugin(file)
    if args.text:
        encoders.require(args.text, "text").check()
    part = part_of(args.part)
    if (alone or run(args, part)) and args.text:
        encode_captions(args, part)
    return 0


def given(args: argparse.Namespace) -> list[str]:
    """The options that differ from their defaults."""
    usual = vars(parser().parse([]))
    return [name for name, value in vars(args).items() if value != usual[name]]


def option(name: str) -> str:
    """An option as it is written."""
    return f"--{name.replace('_', '-')}"


def check_folder(args: argparse.Namespace) -> int:
    """Compare every shard of ``--check`` with its hash. Raises :class:`UserError`."""
    if other := next((name for name in given(args) if name != "check"), None):
        raise UserError(f"--check verifies a folder and encodes nothing: leave {option(other)} out")
    index = read_index(args.check)
    check_shards(args.check, index)
    print(f"{short(args.check)}: {described(index.recipe)}: every shard is as it was written")
    for text in caption_index.every(args.check):
        text.check()
        print(f"{short(text.folder)}: {text.described}: every shard is as it was written")
    return 0


def check_text(args: argparse.Namespace) -> None:
    """Raise :class:`UserError` unless captions can be encoded without a source: of a folder that is there."""
    if args.out is None:
        raise UserError(f"--out is missing: {EXAMPLES.splitlines()[3].strip()}")
    if other := next((name for name in given(args) if name not in OF_TEXT), None):
        raise UserError(f"{option(other)} belongs to --data or --latents: give one of them, or leave it out")
    read_index(args.out)


def check_source(args: argparse.Namespace) -> None:
    """Raise :class:`UserError` unless there is one source, with options of its own, and all that both need."""
    if args.data and args.latents:
        raise UserError("--data and --latents are two sources: give one of them")
    source = "latents" if args.latents else "data"
    for name in (source, "autoencoder", "out"):
        if getattr(args, name) is None:
            raise UserError(f"--{name} is missing: {EXAMPLES.splitlines()[1].strip()}")
    for name in given(args):
        other = next((other for other, names in ONLY.items() if name in names), source)
        if other != source and not (name == "plugin" and args.text):
            raise UserError(f"{option(name)} belongs to --{other}, and not to --{source}: leave it out")


def part_of(text: str) -> Part:
    """``2/8``. Raises :class:`UserError`."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise UserError(f"--part {text}: say I/N with I from 1 to N, for example 2/8")
    return Part(int(index) - 1, int(count))


def encode_captions(args: argparse.Namespace, part: Part) -> None:
    """Write the captions of a part of a folder of latents, and say what is there."""
    from bench.encoders import caption_store
    from bench.machine.device import pick_device

    device, captions = str(pick_device(args.device)), distinct_captions(args.out)
    index = caption_store.write(args.out, args.text, captions, device, part)
    print(PARTS.format(short(args.out)) if index is None else f"{short(index.folder)}: {index.described}")


def run(args: argparse.Namespace, part: Part) -> bool:
    """Write the shards of a part, and say what the folder has; returns whether it has all."""
    from bench.machine.device import pick_device
    from bench.pretrained import frozen_autoencoder

    device = pick_device(args.device)
    model = frozen_autoencoder.load(frozen_autoencoder.place(args.autoencoder), str(device))
    where = Path(args.autoencoder)
    place = str(where.resolve()) if where.is_dir() else args.autoencoder
    origin = converted(args, model, place) if args.latents else encoded(args, model, place)
    if args.dry_run:
        print(planned(origin.recipe))
        return False
    index = write(args.out, origin, part)
    if index is None:
        print(PARTS.format(short(args.out)))
        return False
    print(summary(args.out, index))
    if isinstance(origin, ConvertedLatents):
        for remark in origin.remarks(args.out, index):
            print(f"  {remark}")
    return True


def planned(recipe: EncodingRecipe) -> str:
    """What would be written, and how large it is."""
    twice = (
        ", where mean and deviation take twice the space of a mean" if recipe.posterior == "mean+std" else ""
    )
    return f"{described(recipe)}: {size(recipe.bytes)}{twice}"


def encoded(args: argparse.Namespace, model: Autoencoder, place: str) -> EncodedImages:
    """The images of a dataset, to be encoded."""
    resolution = 256 if args.resolution is None else args.resolution
    if resolution % model.factor:
        raise UserError(
            f"--resolution {resolution}: {model.name} makes one latent of {model.factor} x {model.factor} pixels: "
            f"the nearest is {max(1, round(resolution / model.factor)) * model.factor}"
        )
    most = args.train
    if most is None:
        most = 20_000 if data.get(data.canonical(args.data)).fixed else 10**8
    dataset = data.load(args.data, resolution=resolution, train=most, validation=args.validation)
    if args.validation_data:
        other = data.load(args.validation_data, resolution=resolution, train=args.validation, validation=1)
        dataset = held_out_of(dataset, other)
    if (dataset.train.mix, dataset.validation.mix) != (None, None):
        raise UserError(
            f"--data {args.data}: all captions are kept: give mix to --datasets encoded:{args.out}"
        )
    return EncodedImages(dataset, model, place, args.posterior or "mean", args.batch or 16)


def converted(args: argparse.Namespace, model: Autoencoder, place: str) -> ConvertedLatents:
    """The latents of others, to be converted. Raises :class:`UserError` for options that do not fit them."""
    for name in ("train", "validation"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UserError(f"--{name} {getattr(args, name)}: must be 1 or more")
    columns = dict(each.partition("=")[::2] for each in args.columns or ())
    if odd := next((each for each in args.columns or () if "=" not in each), None):
        raise UserError(f"--columns {odd}: say USE=NAME, for example latents=vae_output")
    if args.range is not None and not 0 < args.range < float("inf"):
        raise UserError(f"--range {args.range:g}: must be a finite number greater than 0")
    source = find(args.latents, ReadingOptions(columns, args.range, bool(args.flips)), model.channels)
    names = read_numbered(args.classes) if args.classes else None
    posterior: Posterior = args.posterior or ("sample" if source.stores == "sample" else "mean")
    sizes = args.train or 10**8, args.validation
    return ConvertedLatents(
        source, args.latents.name, model, place, posterior, *sizes, bool(args.scaled), names
    )


if __name__ == "__main__":
    sys.exit(main())
