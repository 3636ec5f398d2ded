"""The command ``python -m bench.dedup``: near-duplicates among pictures, and a list by which they are left out.

Pictures are near-duplicates if the cosine of their features reaches the threshold, and a chain of them is one group. The
picture of a group with the lowest sha256 stays; ``--data images:PATH,drop=DIR/drop.txt`` leaves out the others.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench import data, encoders
from bench.data import drop_list
from bench.data.dataset import Picked
from bench.data.images import Files
from flowbench._core import atomic
from flowbench._core.command import FLOAT, INT, Parser, entry
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import many, short

if TYPE_CHECKING:
    from bench.data.decoding import Record

SHOWN, WIDE = 16, 8
"""Groups on the sheet, and pictures of each."""
EXAMPLE = """example:
  python -m bench.dedup --data images:PATH --extractor sscd:sscd_disc_mixup.torchvision.pt --threshold 0.5 --out duplicates
  python -m bench.encode --data images:PATH,drop=duplicates/drop.txt --autoencoder PATH --out latents"""


@dataclass(frozen=True)
class Duplicate:
    """A picture that is left out, and the cosine to the one that stays: below the threshold where others link them."""

    key: str
    similarity: float


@dataclass(frozen=True)
class Group:
    """The picture that stays, by the sha256 of its file, its captions, and its near-duplicates, the most similar first."""

    kept: str
    captions: tuple[str, ...]
    dropped: tuple[Duplicate, ...]


def parser() -> Parser:
    """The options."""
    p = Parser(prog="python -m bench.dedup", description=__doc__, epilog=EXAMPLE)
    add = p.add_argument
    add("--data", metavar="images:PATH", help="the pictures")
    add("--extractor", metavar="SPEC", help="whose features are compared, as of bench.grid")
    add(
        "--threshold",
        type=FLOAT,
        metavar="T",
        help="least cosine of near-duplicates; the study took 0.5 of SSCD's",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="the folder to write: drop.txt, duplicates.json, duplicates.png",
    )
    add(
        "--resolution",
        type=INT,
        default=256,
        metavar="R",
        help="edge of the pictures as they are read (default: 256)",
    )
    add("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    add("--plugin", nargs="+", default=[], metavar="FILE", help="plugin files, for an extractor of yours")
    return p


def command(argv: Sequence[str] | None) -> int:
    """What :data:`main` does, with mistakes as exceptions."""
    args = parser().parse(argv)
    for name in ("data", "extractor", "threshold", "out"):
        if getattr(args, name) is None:
            raise UserError(f"--{name} is missing: {EXAMPLE.splitlines()[1].strip()}")
    if not -1 < args.threshold <= 1:
        raise UserError(
            f"--threshold {args.threshold:g}: a cosine lies between -1 and 1, the study took 0.5 of SSCD's"
        )
    for file in args.plugin:
        load_plugin(file)
    print(deduplicate(args.data, args.extractor, args.threshold, args.out, args.resolution, args.device))
    return 0


main = entry(command)


def deduplicate(spec: str, extractor: str, threshold: float, out: Path, resolution: int, device: str) -> str:
    """Find groups, write list, report and sheet; returns a line about them. Raises :class:`UserError`."""
    from bench.data.near_duplicates import first_of_each
    from bench.machine.device import pick_device

    builder = data.get(data.canonical(spec))
    if not isinstance(builder, Files):
        raise UserError(f"--data {spec}: near-duplicates are looked for among images:PATH")
    encoders.require(extractor, "extractor").check()
    there = str(pick_device(device))
    _, pictures, record = builder.decoded(resolution)
    order = np.array(sorted(builder.chosen(record), key=lambda i: record.keys[i]))
    model = encoders.extractor(extractor, there)
    features = encoders.features(model, Picked(pictures, order))
    first = first_of_each(features, threshold, there)
    found = groups(record, order, features.double().numpy(), first)
    keys = [each.key for group in found for each in group.dropped]
    about = {
        "data": spec,
        "extractor": model.name,
        "preprocessing": model.preprocessing,
        "resolution": resolution,
        "threshold": threshold,
        "pictures": len(order),
        "dropped": len(keys),
    }
    atomic.write_json(out / "duplicates.json", {**about, "groups": [asdict(group) for group in found]})
    draw(pictures, record, found, out / "duplicates.png")
    drop_list.write(out / drop_list.NAME, keys)
    count, found_in = many(len(order), "picture"), many(len(found), "group")
    return (
        f"{short(out)}: {len(keys):,} of {count} are near-duplicates of others, in {found_in}, by {model.name} at "
        f"{threshold:g}; images:PATH,drop={short(out / drop_list.NAME)} leaves them out"
    )


def groups(
    record: Record, order: NDArray[np.int64], features: NDArray[np.float64], first: NDArray[np.int64]
) -> list[Group]:
    """The groups of more than one picture, the largest first; ``first`` has places in ``order``, that of the keys."""
    found = []
    for lowest in np.unique(first[first != np.arange(len(first))]).tolist():
        rows = np.flatnonzero(first == lowest)[1:]
        lengths = np.linalg.norm(features[rows], axis=1) * np.linalg.norm(features[lowest])
        cosines = np.round(features[rows] @ features[lowest] / np.maximum(lengths, 1e-30), 6)
        dropped = [Duplicate(record.keys[order[row]], float(c)) for row, c in zip(rows, cosines, strict=True)]
        dropped.sort(key=lambda each: (-each.similarity, each.key))
        kept = int(order[lowest])
        found.append(Group(record.keys[kept], tuple(record.captions[kept]), tuple(dropped)))
    return sorted(found, key=lambda group: (-len(group.dropped), group.kept))


def draw(pictures: NDArray[np.uint8], record: Record, found: Sequence[Group], file: Path) -> None:
    """Draw the largest groups, one a row: what stays, then what is left out; nothing without groups."""
    from bench.drawing import write

    if not found:
        file.unlink(missing_ok=True)
        return
    place = {key: i for i, key in enumerate(record.keys)}
    edge = pictures.shape[-1]
    rows = []
    for group in found[:SHOWN]:
        keys = [group.kept, *(each.key for each in group.dropped)][:WIDE]
        shown = pictures[[place[key] for key in keys]].transpose(0, 2, 3, 1)
        rows.append(np.concatenate([shown, np.full((WIDE - len(keys), edge, edge, 3), 255, np.uint8)]))
    write(np.concatenate(rows), file, WIDE)


if __name__ == "__main__":
    sys.exit(main())
