"""The options of ``python -m bench.encode``, and which of them belong together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from bench.data.encoding.write_latents import Part
from bench.data.latent_store import Posterior, read_index
from bench.launch import launchers
from bench.launch.slurm import slurm_options
from bench.launch.slurm.slurm_options import SlurmOptions
from flowbench._core.command import COUNT, FLOAT, INT, Parser, one_of
from flowbench._core.errors import UserError

EXAMPLES = """examples:
  python -m bench.encode --data images:PATH --resolution 256 --autoencoder stabilityai/sd-vae-ft-mse --out encoded
  python -m bench.encode --latents edm2.zip --classes names.txt --autoencoder stabilityai/sd-vae-ft-mse --out encoded
  python -m bench.encode --text sd3:clip_l=PATH,clip_g=PATH,t5=PATH --out encoded
  python -m bench.encode --text t5:PATH --out encoded --executor slurm --parts 8 --slurm.partition=gpu
  python -m bench.grid --datasets encoded:encoded --resolution 256 --patch 2 --dry-run
  python -m bench.encode --check encoded"""
ONLY = {
    "data": ("validation_data", "resolution", "batch", "plugin"),
    "latents": ("classes", "columns", "range", "scaled", "flips"),
}
"""Options that belong to one of the two sources."""
OF_TEXT = ("text", "out", "device", "part", "plugin", "executor", "parts")
"""Options by which captions are encoded without a source."""
SLURM = "slurm"
OF_JOBS = ("executor", "parts", "part", "dry_run")
"""Options that no job is given as they are."""


def parser(description: str = "") -> Parser:
    """The options."""
    p = Parser(prog="python -m bench.encode", description=description, epilog=EXAMPLES)
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
    add(
        "--licence",
        metavar="TEXT",
        help="licence of the data, to be kept with the latents (default: what its card or dataset_info.json states)",
    )
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add(
        "--part",
        default="1/1",
        metavar="I/N",
        help="encode every Nth shard from the Ith on; then once more without it",
    )
    add(
        "--executor",
        type=one_of(("local", SLURM)),
        default="local",
        metavar="NAME",
        help="local, or slurm: an array of --parts N, then one job that does what they left (default: local)",
    )
    add("--parts", type=COUNT, metavar="N", help="tasks of that array")
    p.add_argument_group(
        "slurm",
        "any option of submitit or sbatch, as of bench.grid: --slurm.partition=gpu --slurm.time=4:00:00",
    )
    add("--dry-run", action="store_true", help="print what would be written, and its size")
    add(
        "--check",
        type=Path,
        metavar="DIR",
        help="verify every file of a finished folder, and encode nothing",
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


def parse(argv: Sequence[str] | None, description: str) -> tuple[argparse.Namespace, SlurmOptions | None]:
    """The options, and those of Slurm if its jobs encode. Raises :class:`UserError`."""
    pairs, rest = launchers.take(sys.argv[1:] if argv is None else argv)
    made = parser(description)
    args = made.parse(rest)
    slurm = pairs.pop(SLURM, [])
    made.check_unknown([f"--{name}.{some[0][0]}" for name, some in pairs.items()])
    if args.executor != SLURM:
        if args.parts or slurm:
            option = "--parts" if args.parts else f"--{SLURM}.{slurm[0][0]}"
            raise UserError(f"{option} needs --executor {SLURM}")
        return args, None
    if args.parts is None or args.part != "1/1":
        raise UserError(
            f"--executor {SLURM}: say by --parts N, and not by --part, how many tasks divide the work"
        )
    return args, slurm_options.parse(slurm)


def written(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Options as words of a command line, as far as they differ from their defaults."""
    words = []
    for name in given(args):
        if name in names:
            value = getattr(args, name)
            several = value if isinstance(value, list) else [value] * (value is not True)
            words += [option(name), *map(str, several)]
    return words


def given(args: argparse.Namespace) -> list[str]:
    """The options that differ from their defaults."""
    usual = vars(parser().parse([]))
    return [name for name, value in vars(args).items() if value != usual[name]]


def option(name: str) -> str:
    """An option as it is written."""
    return f"--{name.replace('_', '-')}"


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
