"""What others compare with, as the reference of FID: ``--reference FILE.npz``, and the same written from our images.

The file holds images, ``arr_0`` uint8 ``[N, H, W, 3]`` (ADM's reference batches; Dhariwal & Nichol 2021, arXiv 2105.05233):
then their features are the extractor's, whatever else the file holds. Or it holds ``mu [D]`` and ``sigma [D, D]`` alone
(EDM's references; Karras et al. 2022, arXiv 2206.00364), which belong to the network that made them.

Importing needs no torch.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bench.encoders.encoder import check_finite
from bench.pretrained.preprocessing import file_digest
from flowbench._core import atomic
from flowbench._core.errors import UserError, nearest_path
from flowbench._core.lazy import lazy

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.encoders import Extractor
    from bench.metrics import frechet, reference_features
    from bench.metrics.frechet import Moments
else:
    torch = lazy("torch")
    frechet, reference_features = lazy("bench.metrics.frechet"), lazy("bench.metrics.reference_features")

IMAGES, STATISTICS, EXTRACTOR = "arr_0", ("mu", "sigma"), "extractor"
"""Arrays in a file; the last is ours: the network that the statistics belong to."""
CHUNK = 256
"""Images that are read at once."""
FORMS = "arr_0 with images [N, H, W, 3], or mu and sigma"


@dataclass(frozen=True, eq=False)
class Given:
    """Moments from a file, and their ``name``: the file's, its digest, and the number of its images or ``statistics``."""

    name: str
    moments: Moments


def check(file: Path) -> None:
    """Raise :class:`UserError` for a file that is not there, or that cannot be such a reference. Reads no array."""
    option = f"--reference {file}"
    if file.suffix == ".pkl":
        script = f"s = pickle.load(open('{file}', 'rb')); numpy.savez('{file.with_suffix('.npz')}', **s.get('fid', s))"
        raise UserError(
            f"{option}: a pickle can run any code, so it is not read; if you trust it, convert it once with "
            f'`python -c "import pickle, numpy; {script}"`, and give the .npz'
        )
    if not file.is_file():
        near = nearest_path(file, lambda p: p.suffix == ".npz")
        raise UserError(f"{option}: there is no such file" + (f"; {near}" if near else ""))
    if not zipfile.is_zipfile(file):
        raise UserError(f"{option} is not an .npz file, or cut short")
    names = members(file)
    if IMAGES not in names and not names.issuperset(STATISTICS):
        raise UserError(f"{option} holds {', '.join(sorted(names)) or 'nothing'}: needed are {FORMS}")


def named(file: Path) -> str:
    """How the name of a metric begins to name a file: its name and its digest; empty for one that is not there."""
    with suppress(OSError):
        facts = file.stat()
        stem = re.sub(r"\W+", "_", file.stem)
        return f"{stem}-{_digest(file, facts.st_mtime_ns, facts.st_size)}"
    return ""


@lru_cache
def _digest(file: Path, *facts: int) -> str:
    """The digest of a file, read again only if its time or size is another."""
    return file_digest(file)


def members(file: Path) -> set[str]:
    """The names of the arrays in a file."""
    with zipfile.ZipFile(file) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def read(file: Path, extractor: Extractor, device: str) -> Given:
    """The moments of a file for an extractor.

    Raises :class:`UserError` as :func:`check`, for arrays of other shapes, and for statistics of another network as far as
    their size or the file shows that.
    """
    check(file)
    name = named(file)
    try:
        if IMAGES in members(file):
            found = features(file, name.rpartition("-")[2], extractor, device)
            return Given(f"{name}-{len(found)}", frechet.Moments.of(found))
        with np.load(file, allow_pickle=False) as arrays:
            moments = statistics(arrays, extractor, file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        wrong(file, str(error))
    return Given(f"{name}-statistics", moments)


def features(file: Path, digest: str, extractor: Extractor, device: str) -> Tensor:
    """Features of the images in a file, kept like those of a dataset."""

    def extracted() -> Tensor:
        found = torch.cat([extractor.image_features(torch.from_numpy(part)) for part in images(file)])
        check_finite(extractor.name, "image", range(len(found)), found)
        return found

    return reference_features.kept([digest], extractor, device, extracted)


def images(file: Path) -> Iterator[NDArray[np.uint8]]:
    """The images of a file, uint8 ``[n, 3, H, W]``, a few at a time. Raises ``ValueError`` for an array of another kind."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{IMAGES}.npy") as stream:
        (count, *sides), fortran, kind = header(stream)
        if kind != np.uint8 or len(sides) != 3 or sides[2] != 3 or fortran or not count:
            raise ValueError(f"{IMAGES} is {kind} {[count, *sides]}, not uint8 [N, H, W, 3]")
        for start in range(0, count, CHUNK):
            shape = (min(CHUNK, count - start), *sides)
            data = stream.read(int(np.prod(shape)))
            part = np.frombuffer(data, np.uint8).reshape(shape)
            yield np.ascontiguousarray(part.transpose(0, 3, 1, 2))


def header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type of an array in NumPy's format."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(stream)
    return (shape or (0,)), fortran, kind


def statistics(arrays: Any, extractor: Extractor, file: Path) -> Moments:
    """The moments of ``mu`` and ``sigma``."""
    mean, cov = (np.asarray(arrays[name], np.float64) for name in STATISTICS)
    if mean.ndim != 1 or cov.shape != (len(mean), len(mean)) or not np.isfinite(cov).all():
        raise ValueError(f"mu {list(mean.shape)} and sigma {list(cov.shape)} are no mean and covariance")
    mine = recipe(extractor)
    made = str(arrays[EXTRACTOR]) if EXTRACTOR in arrays else mine
    if made != mine or len(mean) != extractor.dim:
        theirs = made if made != mine else f"a network with {len(mean)} features"
        raise UserError(
            f"--reference {file}: its statistics are of {theirs}, and --extractor is {mine} with {extractor.dim}: "
            f"choose the extractor that made them, or a file with images"
        )
    return frechet.Moments(2, mean, cov)  # n - 1 = 1: the scatter is the covariance


def recipe(extractor: Extractor) -> str:
    """An extractor with its preprocessing."""
    return f"{extractor.name},{extractor.preprocessing}"


def wrong(file: Path, why: str) -> NoReturn:
    """Raise for a file that cannot be read."""
    raise UserError(f"--reference {file} cannot be read: {why}; needed are {FORMS}") from None


def write(file: Path, arrays: dict[str, Any]) -> None:
    """Write an ``.npz`` file whole."""
    atomic.write_whole(file, lambda temporary: save(temporary, arrays))


def save(file: Path, arrays: dict[str, Any]) -> None:
    """Save arrays under a name that need not end in .npz."""
    with file.open("wb") as stream:
        np.savez(stream, **arrays)


def written(moments: Moments, extractor: Extractor) -> dict[str, Any]:
    """The arrays of a file with statistics."""
    return {"mu": moments.mean, "sigma": moments.cov, EXTRACTOR: recipe(extractor)}
