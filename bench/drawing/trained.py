"""A trained cell, and the images that it draws of captions."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import formulations
from bench import data as datasets
from bench import encoders
from bench.config import kept_weights, time_grids
from bench.config.experiment import Cell
from bench.config.sampling_settings import Setting
from bench.planning import encoder_drops
from bench.planning.image_tokens import image_tokens
from bench.runfolder import store
from flowbench._core import atomic
from flowbench._core.arguments import checked
from flowbench._core.errors import UserError, nearest, nearest_path
from flowbench._core.grammar import numbers_in_glob
from samplers.resolution_shift import at_tokens, needs_tokens

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

MOST = 256
"""Images of one call at most."""


@dataclass(frozen=True)
class Trained:
    """A cell with weights, and its folder."""

    cell: Cell
    folder: Path

    def setting(
        self, steps: int, cfg: float, solver: str, grid: str, drop: str, guide: str, rule: str
    ) -> Setting:
        """A sampler setting for this network. Raises :class:`UserError` for what cannot be sampled with."""
        cell = self.cell
        if needs_tokens(grid):
            grid = at_tokens(grid, image_tokens(cell.dataset, cell.images, cell.model))
        setting = Setting(steps, cfg, solver, time_grids.written(grid), drop, guide, rule)
        setting.check()
        encoder_drops.check_setting(setting, cell.text)
        return setting

    @checked
    def sample(
        self,
        captions: str | Sequence[str],
        *,
        n: int = 1,
        steps: int = 25,
        cfg: float = 2.5,
        solver: str = "euler",
        grid: str = "native",
        drop: str = "none",
        guide: str = "all",
        rule: str = "cfg",
        seed: int = 0,
        weights: str = "ema",
    ) -> NDArray[np.uint8]:
        """Draw ``n`` images of each caption: uint8 ``[captions * n, H, W, 3]``, those of one caption after each other.

        Args:
            captions: what to draw.
            n: images of each caption.
            steps: solver steps.
            cfg: guidance scale; 1 is none.
            solver: one of :mod:`bench.solvers`, ``euler``, ``dpm++2m``, ..., or a plugin's.
            grid: the times of the steps, ``native`` (the formulation's own), ``clock``, ``shift(3)``, ...
            drop: networks of the text encoder that are left out, as ``t5`` or ``clip_g+t5``.
            guide: clocks between which guidance acts, as ``0.1-0.7``.
            rule: of guidance, ``cfg``, or ``cfg++`` with scales up to 1.
            seed: of the noise that the images start from. Image i starts from the same noise whatever the captions.
            weights: ``ema``, ``raw``, or those of a milestone, as ``ema@0.5``.

        Raises:
            UserError: an argument of another type, a caption that the text encoder cannot read, a value that cannot be
                sampled with, weights that the cell does not have, or data, an encoder or a formulation that have changed
                since it was trained.
        """
        setting = self.setting(steps, cfg, solver, grid, drop, guide, rule)
        weights = self.kept(weights)
        each = [captions] if isinstance(captions, str) else list(captions)
        every = [caption for caption in each for _ in range(n)]
        if not each or not 1 <= len(every) <= MOST:
            raise UserError(f"--n {n}: choose 1 to {MOST} images, of {len(each)} captions together")
        return shown(draw(self, every, setting, weights, partial(noise, len(every), seed)))

    def kept(self, weights: str) -> str:
        """The name of weights in its usual spelling. Raises :class:`UserError` for weights that are not kept."""
        name = kept_weights.canonical(weights)
        if not store.weights_file(self.folder, name).exists():
            raise UserError(f"--weights {weights}: {self.folder} keeps other weights only")
        return name


def shown(images: torch.Tensor) -> NDArray[np.uint8]:
    """Images uint8 ``[n, C, H, W]`` as ``[n, H, W, 3]``."""
    return images.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()


def is_kept(folder: Path) -> bool:
    """Whether a folder holds one model (`bench.keep`)."""
    return (folder / "config.json").is_file() and (folder / "ema.safetensors").is_file()


def trained(run: Path) -> list[Trained]:
    """The cells of a run folder that have weights, or a kept model. Raises :class:`UserError` if there are none."""
    folders = [run] if is_kept(run) else sorted(file.parent for file in run.glob("cells/*/ema.safetensors"))
    found = [Trained(store.read_config(f / "config.json", "cell", Cell), f) for f in folders]
    if not found:
        if (run / "cells").is_dir():
            raise UserError(f"{run} holds no trained cell yet: `python -m bench.grid` makes runs/quick")
        near = nearest_path(run, lambda p: (p / "cells").is_dir() or is_kept(p))
        raise UserError(f"{run} is no run folder: {near or '`python -m bench.grid` makes runs/quick'}")
    return sorted(found, key=lambda t: (t.cell.formulation, t.cell.dataset, t.cell.seed))


def canonical(name: str) -> str:
    """A formulation's canonical name, or the name with canonical numbers if it is of a plugin that is not loaded."""
    try:
        return formulations.get(name).name
    except UserError:
        return numbers_in_glob(name)


def choose(cells: Sequence[Trained], name: str, dataset: str | None, cell: str | None) -> Trained:
    """The cell to draw from, of several stages of training the last. Raises :class:`UserError` for none, naming the nearest,
    and for several that differ in more than their seed, naming the option that chooses."""
    names = sorted({t.cell.formulation for t in cells})
    if (known := canonical(name)) not in names:
        raise UserError(f"no cell of {name!r} is trained in this run; {nearest(known, names)}")
    fit = [t for t in cells if t.cell.formulation == known]
    if cell is None:
        before = {parent.id for t in fit for parent in t.cell.ancestors}
        fit = [t for t in fit if t.cell.id not in before]
    there = sorted({t.cell.dataset for t in fit})
    if dataset is not None and dataset not in there:
        raise UserError(f"--dataset {dataset!r}: {nearest(dataset, there)}")
    if dataset is None and len(there) > 1 and cell is None:
        raise UserError(f"{known} is trained on {', '.join(there)}: choose one with --dataset")
    fit = [t for t in fit if dataset in (None, t.cell.dataset)]
    ids = [t.cell.id for t in fit]
    if cell is not None:
        if cell not in ids:
            raise UserError(f"--cell {cell!r} is none of {known}'s; {nearest(cell, ids)}")
        return fit[ids.index(cell)]
    first = [t for t in fit if t.cell.seed == fit[0].cell.seed]
    if len(first) > 1:
        sizes = ", ".join(
            f"{t.cell.id} ({t.cell.model.architecture}, depth {t.cell.model.depth}, {t.cell.training.steps} steps)"
            for t in first
        )
        raise UserError(f"{len(first)} cells of {known} fit: choose one with --cell: {sizes}")
    return first[0]


def noise(count: int, seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Noise ``[count, C, H, W]`` to start from; the first are the same however many there are."""
    import torch

    from bench.config.seeds import seed_for

    generator = torch.Generator().manual_seed(seed_for("draw", seed))
    return torch.randn((count, *shape), generator=generator)


def draw(
    chosen: Trained,
    captions: Sequence[str],
    setting: Setting,
    weights: str,
    noise: Callable[[tuple[int, int, int]], torch.Tensor],
) -> torch.Tensor:
    """An image of each caption, uint8 ``[n, C, H, W]``, from ``noise`` of the given ``(C, H, W)``, ``[n, C, H, W]``. Raises
    as :func:`batches`."""
    import torch

    return torch.cat(list(batches(chosen, captions, setting, weights, noise)))


def batches(
    chosen: Trained,
    captions: Sequence[str],
    setting: Setting,
    weights: str,
    noise: Callable[[tuple[int, int, int]], torch.Tensor],
) -> Iterator[torch.Tensor]:
    """The images of :func:`draw` in their order, as many at a time as are drawn together.

    Raises :class:`UserError` before the first for words that the text encoder does not know, and for data, an encoder or a
    formulation that have changed since the cell was trained.
    """
    from bench.encoders import text
    from bench.encoders.caption_index import HALF
    from bench.machine.device import pick_device
    from bench.models import Shape
    from bench.models.flat import Flat
    from bench.sampling.generate import generate
    from bench.worker import provenance

    cell, device = chosen.cell, pick_device("auto")
    encoder: Any = encoders.text_encoder(cell.text, str(device))
    for caption in dict.fromkeys(captions):
        check_words(encoder, caption)
    try:
        formulation = formulations.get(cell.formulation)
        datasets.get(cell.dataset)
    except UserError as error:
        raise UserError(f"name the run's plugins with --plugin: {error}") from None
    provenance.verify_formulation(chosen.folder, formulation)
    provenance.verify_network(chosen.folder, cell)
    data = datasets.load(cell.dataset, **asdict(cell.images))
    trained_on = atomic.read_object(chosen.folder / "config.json").get("text_encoder")
    name = encoder.name + HALF if trained_on == encoder.name + HALF else encoder.name
    provenance.verify_inputs(chosen.folder, {"data": data.digest, "text_encoder": name})
    # padding that no caption uses was cut off, so the longest one decides how many tokens the network has seen
    texts = data.train.texts() + data.validation.texts()
    longest = max(texts, key=lambda c: len(c.split())), max(texts, key=len)
    dropped = cell.training.dropped
    further = [""] if dropped == "empty" else []
    encoded = text.encode(encoder, [*captions, *longest, *further], device).dropped_to(dropped)
    model = Shape.of(cell.model, data.train.shape, encoded).build().to(device)
    flat = Flat(model)
    matrix = flat.row(atomic.read_tensors(store.weights_file(chosen.folder, weights))[0])[None]
    parts = generate(
        model,
        flat,
        matrix.float().to(device),
        [formulation],
        encoded,
        encoded.rows(captions),
        noise(data.train.shape),
        setting,
        cell.training.precision,
    )
    return (data.decode(part.images)[0].cpu() for part in parts)


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
