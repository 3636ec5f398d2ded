"""The command ``python -m bench.parity``: our metrics and those of clean-fid, torch-fidelity and torchmetrics, on the same
images with the same weights; of CLIP always random ones.

Values that are computed alike must agree to 1e-3 of theirs, or the command fails; others have the reason why they differ.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

import formulations
from bench.data import shapes
from bench.encoders import inception
from bench.metrics.frechet import Moments, frechet
from bench.metrics.kid import kid
from bench.metrics.metric import Drawn, Reference, get, registry
from bench.parity.clip_peers import our_scores, random_clip, torchmetrics_scores
from bench.parity.inception_peers import OURS, Extract, extractors, published_weights, random_weights
from bench.parity.peer_metrics import FRECHET, KERNEL, TOLERANCE, difference, fidelity_neighbours
from flowbench._core.command import COUNT, Parser, entry
from flowbench._core.errors import UserError

LARGE = 4
"""Images of 299 pixels whose features are compared: no library resizes them."""
SUBSETS = 100
"""Random subsets of a kernel distance, as the libraries draw them unless asked otherwise."""
RESIZES = {
    "clean-fid": "the same: Pillow's antialiased bicubic filter, not rounded to 8 bits",
    "torch-fidelity": "another resize: TensorFlow 1's bilinear filter, without antialiasing",
    "torchmetrics": "another resize: torch's antialiased bilinear filter",
}
ROOTS = {
    "clean-fid": "SciPy's general matrix root; ours: two symmetric eigendecompositions",
    "torch-fidelity": "eigenvalues of the product of the covariances",
    "torchmetrics": "eigenvalues of the product, covariances from sums about 0, returned in float32",
}


@dataclass(frozen=True)
class Line:
    """What is compared, with which library, both values (None: too many to show), and how theirs comes about.

    ``same``: both compute the same, and must agree.
    """

    what: str
    library: str
    values: tuple[float, float] | None
    difference: float
    how: str
    same: bool

    @classmethod
    def of(cls, what: str, library: str, ours: Any, theirs: Any, how: str, same: bool = True) -> Line:
        """From two numbers, or two arrays of one shape."""
        values = (float(ours), float(theirs)) if np.ndim(ours) == 0 else None
        return cls(what, library, values, difference(ours, theirs), how, same)

    @property
    def agrees(self) -> bool:
        """Whether the values are as near as they must be."""
        return not self.same or self.difference <= TOLERANCE

    def __str__(self) -> str:
        ours, theirs = (f"{value:.5g}" for value in self.values) if self.values else ("", "")
        verdict = "same" if self.same else "differs"
        shown = f"{ours} | {theirs} | {self.difference:.0e} | {verdict if self.agrees else 'WRONG'}"
        return f"| {self.what} | {self.library} | {shown} | {self.how} |"


HEADING = "| compared | with | ours | theirs | difference | | what theirs is |\n|:--|:--|--:|--:|--:|:--|:--|"


def command(argv: Sequence[str] | None) -> int:
    """Print the table; returns 1 if values that must agree do not."""
    made = Parser(prog="python -m bench.parity", description=__doc__)
    where = (
        "folder with the published weights, clean-fid's file and torch-fidelity's (default: random weights)"
    )
    made.add_argument("--inception", type=Path, metavar="FOLDER", help=where)
    made.add_argument("--count", type=COUNT, default=64, metavar="N", help="images of each side (default 64)")
    made.add_argument(
        "--plugin", nargs="+", type=Path, default=[], metavar="FILE", help="also its precision and recall"
    )
    args = made.parse(argv)
    if args.count < 8:
        raise UserError(f"--count {args.count}: at least 8")
    for file in args.plugin:
        formulations.load_plugin(file)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated; clean-fid's file is one
    print(HEADING)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        peers = networks(args.inception, Path(folder), device)
        scores = of_captions(Path(folder) / "clip", args.count)
        for line in chain(lines(peers, args.count), scores):
            print(line, flush=True)
            wrong += not line.agrees
    if wrong:
        raise UserError(f"{wrong} of the values marked WRONG differ by more than {TOLERANCE:g} of theirs")
    return 0


def networks(given: Path | None, folder: Path, device: torch.device) -> dict[str, Extract]:
    """Every library's Inception: with the published weights of ``given``, or with random ones, written to ``folder``."""
    if given is None:
        return extractors(folder, random_weights(folder), device)
    found = inception.find(str(given))
    return extractors(found, published_weights(found), device)


def lines(peers: Mapping[str, Extract], count: int) -> Iterator[Line]:
    """All lines, for ``count`` pictures of one object against as many of two."""
    yield from of_images(extracted(peers, pictures("scenes", LARGE, 299)), 299)
    images = extracted(peers, pictures("shapes", count, 32))
    yield from of_images(images, 32)
    reference = extracted(peers, pictures("scenes", count, 32))
    yield from of_features(images[OURS], reference[OURS])
    for name in ("torch-fidelity", "torchmetrics"):
        values = distance(images[OURS], reference[OURS]), FRECHET[name](images[name], reference[name])()
        yield Line.of("FID at 32 px", name, *values, RESIZES[name], same=False)


def extracted(peers: Mapping[str, Extract], images: Tensor) -> dict[str, Tensor]:
    """The features of images by library."""
    return {name: extract(images) for name, extract in peers.items()}


def of_images(found: Mapping[str, Tensor], side: int) -> Iterator[Line]:
    """The lines of the features of the same images of so many pixels; at 299 no library resizes them."""
    for name, resize in RESIZES.items():
        same = side == 299 or name == "clean-fid"
        how = "the same network, no resize" if side == 299 else resize
        yield Line.of(f"features at {side} px", name, found[OURS], found[name], how, same)


def of_features(images: Tensor, reference: Tensor) -> Iterator[Line]:
    """The lines of distances between the same features ``[n, D]``, as all libraries compute them."""
    ours, several = distance(images, reference), "FID of the same features"
    for name, root in ROOTS.items():
        yield Line.of(several, name, ours, FRECHET[name](images, reference)(), root)
    over_n = frechet(*(replace(m, scatter=m.scatter * (1 - 1 / m.n)) for m in moments(images, reference)))
    how = "covariances over n; the three libraries and ours: over n - 1"
    yield Line.of(several, "StyleGAN2-ADA's formula", ours, over_n, how, same=False)
    count = min(len(images), len(reference))
    images, reference = images[:count], reference[:count]
    kernel = kid(images, reference)
    for name, theirs in KERNEL.items():
        value = theirs(images.double(), reference.double(), 1, count)
        yield Line.of(
            "KID of the same features", name, kernel.value, value, "one subset of all images, in float64"
        )
    for name, theirs in KERNEL.items():
        value = theirs(images, reference, SUBSETS, count // 2)
        how = f"mean of {SUBSETS} random subsets of {count // 2} images, float32; ours: all pairs, "
        how += f"standard error {kernel.stderr:.1g}"
        yield Line.of("KID of the same features", name, kernel.value, value, how, same=False)
    if registry.find("precision"):
        given: Any = Reference(None, None, reference)  # type: ignore[arg-type]
        mine = get("precision").of(Drawn(images, (), images, None, None, given)).values
        peers = fidelity_neighbours(images, reference)
        for name in ("precision", "recall"):
            yield Line.of(
                name, "torch-fidelity", mine[name], peers[name], "three neighbours, distances in float32"
            )


def of_captions(clip: Path, count: int) -> Iterator[Line]:
    """The lines of the CLIP score of ``count`` pictures and their captions, by random weights in a new folder ``clip``."""
    random_clip(clip)
    images = pictures("shapes", count, 80)
    captions = shapes.scenes(np.arange(count), shapes.WORLDS["shapes"]).captions()
    theirs = torchmetrics_scores(clip, images, captions)
    what, same = (
        "CLIP scores of the same images",
        "its image processor; the mean of these is its value, 0 if negative",
    )
    yield Line.of(what, "torchmetrics", our_scores(f"torchmetrics:{clip}", images, captions), theirs, same)
    how = "images resized as tensors; ours, by --extractor clip:PATH: by Pillow, as transformers documents it"
    yield Line.of(what, "torchmetrics", our_scores(f"clip:{clip}", images, captions), theirs, how, same=False)


def moments(*sides: Tensor) -> tuple[Moments, ...]:
    """The moments of each side."""
    return tuple(map(Moments.of, sides))


def distance(images: Tensor, reference: Tensor) -> float:
    """Our Fréchet distance."""
    return frechet(*moments(images, reference))


def pictures(world: str, count: int, resolution: int) -> Tensor:
    """The first pictures of a world, uint8 ``[count, 3, resolution, resolution]``."""
    what = shapes.scenes(np.arange(count), shapes.WORLDS[world])
    return torch.from_numpy(shapes.render(what, resolution))


main = entry(command)

if __name__ == "__main__":
    sys.exit(main())
