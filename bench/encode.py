"""The command ``python -m bench.encode``: latents and captions once, in a folder that ``--datasets encoded:PATH`` reads.

It encodes a dataset, or converts latents that others have encoded; ``--text`` encodes their captions. The same command again
does what is left, after an interruption at any point; several processes may share the work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import data, encoders
from bench.cli.encode_options import (
    OF_JOBS,
    OF_TEXT,
    check_source,
    check_text,
    given,
    option,
    parse,
    part_of,
    written,
)
from bench.cost.estimate import size
from bench.data.encoding.find_latents import find
from bench.data.encoding.from_images import EncodedImages, held_out_of
from bench.data.encoding.from_latents import ConvertedLatents
from bench.data.encoding.latent_source import ReadingOptions
from bench.data.encoding.write_latents import Part, described, licensed, summary, write
from bench.data.images import Files, cache_folder
from bench.data.latent_store import (
    EncodingRecipe,
    Posterior,
    check_shards,
    read_index,
)
from bench.data.row_captions import check_tables, distinct_captions
from bench.data.sources.classes import read_numbered
from bench.encoders import caption_index
from bench.launch.slurm.slurm_options import SlurmOptions
from bench.pretrained import frozen_autoencoder, licence
from flowbench._core.command import outcome
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import short

if TYPE_CHECKING:
    from bench.pretrained.frozen_autoencoder import Autoencoder

PARTS = "{}: shards of other parts are not there yet; the command without --part ends the work"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 2 after one sentence about a user's mistake."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """Encode, convert, check, or have Slurm encode."""
    args, slurm = parse(argv, __doc__ or "")
    if args.check:
        return check_folder(args)
    alone = args.text and not (args.data or args.latents)
    (check_text if alone else check_source)(args)
    for file in args.plugin or ():
        load_plugin(file)
    if args.text:
        encoders.require(args.text, "text").check()
    if slurm and not args.dry_run:
        return submit(args, slurm)
    part = part_of(args.part)
    if (alone or run(args, part)) and args.text:
        encode_captions(args, part)
    return 0


def check_folder(args: argparse.Namespace) -> int:
    """Compare every file of ``--check`` with its hash. Raises :class:`UserError`."""
    if other := next((name for name in given(args) if name != "check"), None):
        raise UserError(f"--check verifies a folder and encodes nothing: leave {option(other)} out")
    index = read_index(args.check)
    check_shards(args.check, index)
    check_tables(args.check, index)
    print(f"{short(args.check)}: {described(index.recipe)}: every file is as it was written")
    print(f"  {licensed(index)}")
    for text in caption_index.every(args.check):
        text.check()
        print(f"{short(text.folder)}: {text.described}: every file is as it was written")
    if left := caption_index.unfinished(args.check):
        raise UserError(
            f"{left[0]}: not all captions are encoded: the same `python -m bench.encode --text` command encodes the rest"
        )
    return 0


def submit(args: argparse.Namespace, slurm: SlurmOptions) -> int:
    """Have an array of jobs encode a part each, and one more the rest: latents first, then captions."""
    from bench.launch.slurm import divided

    if args.data or args.latents:
        check_files(args)
    if args.device == "auto":
        args.device = "cuda"
    source = written(args, [name for name in given(args) if name not in (*OF_JOBS, "text")])
    text = written(args, [name for name in OF_TEXT if name not in OF_JOBS])
    commands = [source] * bool(args.data or args.latents) + [text] * bool(args.text)
    jobs = divided.submit("bench.encode", commands, args.parts, args.out, slurm, args.device)
    print(
        f"submitted as jobs {', '.join(jobs)}, each after the one before; their output is in {short(args.out)}/slurm"
    )
    return 0


def check_files(args: argparse.Namespace) -> None:
    """Raise :class:`UserError` unless the source and the autoencoder are there. Loads nothing."""
    frozen_autoencoder.check(frozen_autoencoder.place(args.autoencoder))
    for spec in filter(None, (args.data, args.validation_data)):
        data.get(data.canonical(spec)).check()
    if args.latents and not args.latents.exists():
        raise UserError(f"--latents {args.latents}: no such file or folder")


def encode_captions(args: argparse.Namespace, part: Part) -> None:
    """Write the captions of a part of a folder of latents, and say what is there."""
    from bench.encoders import caption_store
    from bench.machine.device import pick_device

    device, captions = str(pick_device(args.device)), list(dict.fromkeys([*distinct_captions(args.out), ""]))
    index = caption_store.write(args.out, args.text, captions, device, part)
    if index is None:
        print(PARTS.format(short(args.out)))
        return
    print(f"{short(index.folder)}: {index.described}")
    for remark in caption_store.remarks(index):
        print(f"  {remark}")


def run(args: argparse.Namespace, part: Part) -> bool:
    """Write the shards of a part, and say what the folder has; returns whether it has all."""
    from bench.machine.device import pick_device

    device = pick_device(args.device)
    model = frozen_autoencoder.load(frozen_autoencoder.place(args.autoencoder), str(device))
    where = Path(args.autoencoder)
    place = str(where.resolve()) if where.is_dir() else args.autoencoder
    origin = converted(args, model, place) if args.latents else encoded(args, model, place)
    if args.dry_run:
        print(planned(origin.recipe) + f"; by an array of {args.parts} tasks" * bool(args.parts))
        return False
    index = write(args.out, origin, part, licences(args))
    if index is None:
        print(PARTS.format(short(args.out)))
        return False
    print(f"{summary(args.out, index)}\n  {licensed(index)}")
    if isinstance(origin, ConvertedLatents):
        for remark in origin.remarks(args.out, index):
            print(f"  {remark}")
    return True


def licences(args: argparse.Namespace) -> dict[str, str]:
    """The licence of the data, as given or as its folder states it, and that of the autoencoder by its card."""
    place = args.latents
    if args.data and isinstance(builder := data.get(data.canonical(args.data)), Files):
        place = Path(builder.path)
    stated = licence.in_a_line(args.licence or "") or (licence.of_data(place) if place else None)
    found = {
        "data": stated,
        "autoencoder": licence.of_model(frozen_autoencoder.place(args.autoencoder)),
    }
    return {what: words for what, words in found.items() if words}


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
    if args.dry_run:
        for line in cached(args, resolution):
            print(line, flush=True)
    dataset = data.load(args.data, resolution=resolution, train=most, validation=args.validation)
    if args.validation_data:
        other = data.load(args.validation_data, resolution=resolution, train=args.validation, validation=1)
        dataset = held_out_of(dataset, other)
    if (dataset.train.mix, dataset.validation.mix) != (None, None):
        raise UserError(
            f"--data {args.data}: all captions are kept: give mix to --datasets encoded:{args.out}"
        )
    return EncodedImages(dataset, model, place, args.posterior or "mean", args.batch or 16)


def cached(args: argparse.Namespace, resolution: int) -> list[str]:
    """How much loading the images adds to the user's cache, before it does."""
    specs = dict.fromkeys(filter(None, (args.data, args.validation_data)))
    sizes = {spec: data.get(data.canonical(spec)).cache_bytes(resolution) for spec in specs}
    return [
        f"{spec}: decoded once now, into {size(count)} at most in {cache_folder(None)} (XDG_CACHE_HOME)"
        for spec, count in sizes.items()
        if count
    ]


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
