"""The command ``python -m bench.reference``: what FID of a dataset compares with, as an ``.npz`` file for others and for
``--reference``.

The validation images' moments by an extractor as ``mu`` and ``sigma``, as EDM's code reads them, or with ``--images`` the
images as ``arr_0``, as ADM's evaluation reads them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import data, encoders
from bench.config.experiment import Evaluation, Images
from bench.metrics import reference_file
from flowbench._core.command import COUNT, Parser, entry
from flowbench._core.errors import UserError
from flowbench._core.lazy import lazy
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import many

frechet, reference_features = lazy("bench.metrics.frechet"), lazy("bench.metrics.reference_features")
device = lazy("bench.machine.device")


def parser() -> Parser:
    """The command's options, as they are called in ``bench.grid``."""
    made = Parser(prog="python -m bench.reference", description=__doc__)
    add, usual = made.add_argument, Images()
    add("dataset", metavar="DATA", help="as --datasets of bench.grid")
    add(
        "--resolution", type=COUNT, default=usual.resolution, metavar="PX", help=f"default {usual.resolution}"
    )
    for name, option in (("train", "train-images"), ("validation", "validation-images")):
        value = getattr(usual, name)
        add(
            f"--{option}",
            dest=name,
            type=COUNT,
            default=value,
            metavar="N",
            help=f"at most (default {value:,})",
        )
    add("--extractor", default=None, metavar="MODEL", help=f"default {Evaluation().extractor}")
    add("--images", action="store_true", help="write the images, for any extractor")
    add("--plugin", nargs="+", type=Path, default=[], metavar="FILE", help="as for bench.grid")
    add("--out", type=Path, required=True, metavar="FILE", help="an .npz file")
    return made


def command(argv: Sequence[str] | None) -> int:
    """Write the file. Raises :class:`UserError`."""
    args = parser().parse(argv)
    if args.out.suffix != ".npz" or not args.out.absolute().parent.is_dir():
        raise UserError(f"--out {args.out}: name an .npz file in a folder that is there")
    if args.images and args.extractor:
        raise UserError("--images and --extractor: choose one, as images are for any extractor")
    for file in args.plugin:
        load_plugin(file)
    spec = args.extractor or Evaluation().extractor
    encoders.require(spec, "extractor").check()
    made = data.load(args.dataset, resolution=args.resolution, train=args.train, validation=args.validation)
    count = many(len(made.validation), "validation image")
    if args.images:
        pixels = made.validation.reference[np.arange(len(made.validation))]
        shown = np.repeat(pixels, 3 // pixels.shape[1], axis=1).transpose(0, 2, 3, 1)
        reference_file.write(args.out, {reference_file.IMAGES: np.ascontiguousarray(shown)})
        print(f"{args.out}: {count} of {args.dataset}")
        return 0
    where = str(device.pick_device("auto"))
    extractor = encoders.extractor(spec, where)
    found = reference_features.reference_features(made, extractor, where)
    moments = frechet.Moments.of(found)
    reference_file.write(args.out, reference_file.written(moments, extractor))
    print(
        f"{args.out}: mean and covariance of {count} of {args.dataset} by {reference_file.recipe(extractor)}"
    )
    return 0


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
