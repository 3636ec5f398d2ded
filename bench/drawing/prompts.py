"""Prompts of others from files, and images of them in the folders that GenEval's own evaluation reads. No torch.

    OUT/00000/metadata.jsonl        the prompt with all that its file has of it
    OUT/00000/samples/00000.png     its images
    OUT/drawn.json                  what drew them

A prompt's ``metadata.jsonl`` is written last, so that an interrupted command continues with the prompts that lack it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowbench._core import atomic
from flowbench._core.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

DRAWN, ABOUT, SAMPLES = "drawn.json", "metadata.jsonl", "samples"
FORMS = "GenEval's .jsonl with a 'prompt' in each line, or PartiPrompts' .tsv with a column 'Prompt'"


@dataclass(frozen=True)
class Prompt:
    """A prompt, and all that its file has of it."""

    text: str
    about: dict[str, Any]


def read(file: Path) -> list[Prompt]:
    """The prompts of a file: :data:`FORMS`. Raises :class:`UserError` with the line that is none."""
    kinds = {".jsonl": lines_of_json, ".tsv": rows_of_table}
    if file.suffix not in kinds:
        raise UserError(f"--prompts {file}: needed is {FORMS}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {file}: {error}") from None
    found = []
    for number, about in kinds[file.suffix](text, file):
        key = next((key for key in ("prompt", "Prompt") if isinstance(about, dict) and key in about), "")
        if not key or not isinstance(about[key], str) or not about[key].strip():
            raise UserError(f"--prompts {file}, line {number} has no prompt: needed is {FORMS}")
        found.append(Prompt(about[key].strip(), about))
    if not found:
        raise UserError(f"--prompts {file} holds no prompt")
    return found


def lines_of_json(text: str, file: Path) -> Iterable[tuple[int, Any]]:
    """The values of JSON lines, with their numbers."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except ValueError:
                raise UserError(f"--prompts {file}, line {number} is not JSON") from None


def rows_of_table(text: str, file: Path) -> Iterable[tuple[int, Any]]:
    """The rows of a table with tabs, by column, with their numbers."""
    table = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    for row in table:
        yield table.line_num, {name: value for name, value in row.items() if name}


def check(out: Path, about: Mapping[str, Any]) -> None:
    """Raise :class:`UserError` for a folder with anything else than images that are drawn as in ``about``."""
    if (out / DRAWN).is_file():
        if atomic.known_object(out / DRAWN) != about:
            raise UserError(
                f"--out {out} holds images of other prompts, or drawn otherwise: name another folder"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} is not an empty folder: with --prompts, name a new one")


def lacking(out: Path, prompts: Sequence[Prompt]) -> list[int]:
    """The numbers of the prompts that are not drawn yet."""
    return [i for i in range(len(prompts)) if not (home(out, i) / ABOUT).is_file()]


@dataclass(frozen=True)
class Pictures:
    """The images of a prompt in a folder, and all that is known of the prompt."""

    about: dict[str, Any]
    files: tuple[Path, ...]


def drawn(folder: Path) -> list[Pictures]:
    """The prompts of a folder of :func:`write`, or of another of GenEval's form, with their images. Raises
    :class:`UserError` if some are not drawn yet."""
    homes = sorted(each for each in folder.glob("[0-9]*") if each.is_dir() and each.name.isdigit())
    known = atomic.known_object(folder / DRAWN)
    if left := max(len(known.get("prompts", ())), len(homes)) - len(list(folder.glob(f"*/{ABOUT}"))):
        raise UserError(
            f"{folder}: {left} of its prompts are not drawn yet; the command that draws them continues"
        )
    found = []
    for each in homes:
        about = atomic.read_object(each / ABOUT, ": draw it again")
        files = tuple(sorted(file for file in (each / SAMPLES).glob("*.png") if file.stem.isdigit()))
        if not files:
            raise UserError(f"{each / SAMPLES} holds no image 00000.png")
        found.append(Pictures(about, files))
    if not found:
        raise UserError(
            f"{folder} holds no prompts: needed are folders as 00000 with {ABOUT} and {SAMPLES}/00000.png"
        )
    return found


def drawn_by(folder: Path) -> str | None:
    """What drew a folder of :func:`write`; None for those of others."""
    found = atomic.known_object(folder / DRAWN).get("by")
    return None if found is None else str(found)


def picture(file: Path) -> Image.Image:
    """An image of a folder, in RGB. Raises :class:`UserError` if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(file, formats=["PNG"]) as opened:
            return opened.convert("RGB")
    except OSError as error:
        raise UserError(f"{file} is no image: {error}") from None


def home(out: Path, number: int) -> Path:
    """The folder of a prompt."""
    return out / f"{number:05}"


def write(
    out: Path, prompts: Sequence[Prompt], about: Mapping[str, Any], images: Iterable[NDArray[np.uint8]]
) -> None:
    """Write the images of the prompts that are :func:`lacking`, in their order: batches ``[b, H, W, 3]``, of each prompt as
    many as ``about`` has as ``images``."""
    from PIL import Image

    left = lacking(out, prompts)
    atomic.folder(out.absolute())
    atomic.write_json(out / DRAWN, dict(about))
    each = (Image.fromarray(image) for batch in images for image in batch)
    for number in left:
        samples = home(out, number) / SAMPLES
        atomic.folder(samples)
        for i in range(about["images"]):
            atomic.write_whole(samples / f"{i:05}.png", saved(next(each)), sync=False)
        atomic.write_text(home(out, number) / ABOUT, json.dumps(prompts[number].about, ensure_ascii=False))


def saved(image: Any) -> Callable[[Path], object]:
    """A function that saves an image as PNG."""
    return lambda file: image.save(file, "PNG")
