"""``python -m bench.keep RUN FORMULATION FOLDER``: a trained model to publish, with a card; `bench.draw` draws from it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import formulations
from bench.config.experiment import Cell, Model, Training
from bench.config.sampling_settings import FIELDS, NAMED, Setting
from bench.drawing import Trained, choose, trained, write
from flowbench._core import atomic
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.terminal import markdown

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    from bench.metrics.metric import Metric
    from bench.runfolder.manifest import Manifest

MOST = 1_500_000
"""Bytes of the weights; in half precision where single precision has more."""
SAME = 8
"""Levels of 256 by which a pixel may differ in half precision: no eye sees it."""
PICTURES = 8
DATA = {
    "digits": "scikit-learn's copy of the UCI Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak), CC BY 4.0",
    "shapes": "rendered by flowbench from its own code, no pictures of others",
    "scenes": "rendered by flowbench from its own code, no pictures of others",
}
"""The data sets that come with flowbench, and their licences."""
INPUTS = ("cell", "data", "text_encoder", "architecture", "coefficients", "plugin")
"""Entries of a cell's ``config.json`` that drawing needs."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(argv))


def parser() -> Parser:
    """The command's options."""
    made = Parser(prog="python -m bench.keep", description=__doc__)
    made.add_argument("run", type=Path, help="run folder")
    made.add_argument("formulation", help="a formulation that was trained there")
    made.add_argument("out", type=Path, metavar="FOLDER", help="for example results/models/NAME")
    made.add_argument("--dataset", metavar="DATA", help="which of a run's datasets")
    made.add_argument("--cell", metavar="ID", help="which cell (default: the first seed)")
    made.add_argument("--plugin", type=Path, metavar="FILE", help="the file that registers the formulation")
    return made


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    args = parser().parse(argv)
    if args.plugin:
        formulations.load_plugin(args.plugin)
    chosen = choose(trained(args.run), args.formulation, args.dataset, args.cell)
    print(keep(args.run, chosen, args.out, args.plugin))
    return 0


def keep(run: Path, chosen: Trained, out: Path, plugin_file: Path | None = None) -> str:
    """Copy a cell's EMA weights into a folder with what drawing needs, a drawing and a card; return a line about it.

    Raises :class:`UserError` for data that others do not have, weights that are too many, pictures that half precision
    changes, a folder with other content, and as drawing does.
    """
    cell = chosen.cell
    if cell.dataset not in DATA:
        raise UserError(
            f"{cell.formulation} is trained on {cell.dataset}, and drawing from it needs these images; "
            f"kept are models of {', '.join(DATA)}"
        )
    if out.exists() and (not out.is_dir() or {p.name for p in out.iterdir()} - FILES):
        raise UserError(f"{out} holds something else than a kept model: name a new folder")
    about = atomic.read_object(chosen.folder / "config.json")
    rows, manifest = measured(run, cell.id)
    weights = atomic.read_tensors(chosen.folder / "ema.safetensors")[0]
    kept, half = fitting(weights)
    result = atomic.read_object(chosen.folder / manifest.evaluation / "result.json")
    caption = str(result["captions"][0])
    with whole(out) as new:
        atomic.write_json(new / "config.json", {name: about[name] for name in INPUTS} | {"caption": caption})
        atomic.write_tensors(new / "ema.safetensors", kept, {"formulation": cell.formulation})
        if plugin_file:
            atomic.write_text(new / "plugin.py", plugin_file.read_text(encoding="utf-8"))
        images = pictures(replace(chosen, folder=new), caption)
        apart = int(abs(images.astype(int) - pictures(chosen, caption)).max())
        if apart > SAME:
            raise UserError(
                f"in half precision pixels change by up to {apart} of 256 levels: train a smaller model to keep"
            )
        write(images, new / "drawing.png")
        precision = (
            f"float16 (no pixel of the drawing differs by more than {apart} of 256 levels from float32's)"
            if half
            else "float32"
        )
        text = card(chosen, rows, manifest, out, caption, precision, plugin_file is not None)
        atomic.write_text(new / "README.md", text)
    size = (out / "ema.safetensors").stat().st_size / 1e6
    return f"{out}: {cell.formulation} on {cell.dataset}, seed {cell.seed}, {size:.2f} MB"


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A new folder, whose files take the place of all that a kept model has in ``out`` once the block ends without an error.
    Raises :class:`UserError` for one that cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=atomic.NEW) as temporary:
            new = Path(temporary) / "model"
            new.mkdir()
            new.chmod(out.parent.stat().st_mode & 0o755)  # as readable as the folder around it
            yield new
            out.mkdir(exist_ok=True)
            for name in FILES:
                (out / name).unlink(missing_ok=True)
            for file in new.iterdir():
                file.replace(out / file.name)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None


FILES = {"config.json", "ema.safetensors", "plugin.py", "drawing.png", "README.md"}
"""What a kept model's folder holds."""


def fitting(weights: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], bool]:
    """Weights of at most `MOST` bytes, and whether they are in half precision. Raises :class:`UserError` for more."""
    size = sum(w.numel() * w.element_size() for w in weights.values())
    if size <= MOST:
        return weights, False
    if size / 2 > MOST:
        raise UserError(
            f"the weights take {size / 2e6:.1f} MB in half precision, and {MOST / 1e6:g} MB are kept at most"
        )
    return {name: w.half() for name, w in weights.items()}, True


def measured(run: Path, cell: str) -> tuple[pd.DataFrame, Manifest]:
    """The rows of a cell in the results, and the plan that it is of. Raises :class:`UserError` if it has none."""
    from analysis.runs import run as runs

    found = runs.read(run)
    rows = found.frame[(found.frame["cell"] == cell) & (found.frame["status"] == "done")]
    manifest = next((m for m in found.manifests if any(c.id == cell for c in m.cells)), None)
    if rows.empty or manifest is None:
        raise UserError(
            f"cell {cell} of {run} is not measured yet, or not in its last plan: run that grid first"
        )
    return rows[rows["weights"] == "ema"], manifest


def pictures(chosen: Trained, caption: str) -> NDArray[np.uint8]:
    """The images that `bench.draw` draws of a caption by default."""
    return chosen.sample(caption, n=PICTURES)


def card(
    chosen: Trained,
    rows: pd.DataFrame,
    manifest: Manifest,
    out: Path,
    caption: str,
    precision: str,
    plugin: bool,
) -> str:
    """The text of ``README.md``: what the model is, what it scores, and how it was made and is drawn from."""
    from analysis.archives.bundle import relative
    from analysis.runs.declared import metrics_of

    cell, usual = chosen.cell, Training()
    network = "MM-DiT" if cell.model.architecture == Model().architecture else f"`{cell.model.architecture}`"
    trainings = [trained_by(each, bool(cell.init)) for each in (*cell.ancestors, cell)]
    of_objective = "" if cell.training.objective == usual.objective else " of its objective"
    recipe = manifest.recipes[next(c.recipe for c in manifest.cells if c.id == cell.id)]
    place = shlex.quote(relative(str(out)))
    plugged = f" --plugin {place}/plugin.py" if plugin else ""
    metrics = [m for m in metrics_of(manifest) if m.level == "setting" and m.ranked and m.name in rows]
    metrics = [m for m in metrics if rows[m.name].notna().all()]
    names = [str(rows[f"{m.name}_name"].iloc[0]) for m in metrics if f"{m.name}_name" in rows]
    lines = [
        f"# {cell.formulation} on {cell.dataset}",
        "",
        f"![{caption}](drawing.png)",
        "",
        f'{PICTURES} drawings of "{caption}", the noise not chosen:',
        "",
        f"    python -m bench.draw {place} {shlex.quote(caption)}{plugged}",
        "",
        "| | |",
        "|:--|:--|",
        f"| formulation | `{cell.formulation}` |",
        f"| data | {cell.dataset}, {cell.images.resolution} x {cell.images.resolution} pixels: {DATA[cell.dataset]} |",
        f"| network | {network}, depth {cell.model.depth}, width {cell.model.sizes[0]}, patch {cell.model.patch}, "
        f"{recipe.parameters:,} parameters |",
        f"| training | {'; then '.join(trainings)}, seed {cell.seed} |",
        f"| weights | EMA, of the step with the smallest validation loss{of_objective}, in {precision} |",
        f"| cell | `{cell.id}` of `python -m bench.grid {relative(shlex.join(manifest.command))}` |",
        f"| validation loss | {rows['val_loss'].iloc[0]:.4f} |",
        "",
        "Sampler settings are steps:guidance[:solver:grid].",
        "",
        *scores(rows, metrics),
        "",
        *(f"- `{name}`" for name in names),
        "",
        "Scores are of the training's own evaluation, in single precision. Others than those of these names do not compare.",
    ]
    return "\n".join(lines) + "\n"


def trained_by(cell: Cell, staged: bool) -> str:
    """A training in words: steps, rate, its data if it is one of several stages, and what differs from the usual."""
    training, usual = cell.training, Training()
    parts = [f"{training.steps:,} steps of {training.batch}", f"learning rate {training.lr:g}"]
    if staged:
        parts.append(f"at most {cell.images.train:,} images of {cell.dataset}")
    for name in ("optimiser", "objective"):
        if (value := getattr(training, name)) != getattr(usual, name):
            parts.append(f"{name} `{value}`")
    return ", ".join(parts)


def scores(rows: pd.DataFrame, metrics: Sequence[Metric]) -> list[str]:
    """A table in Markdown of the scores at each sampler setting."""
    lines = []
    for row in rows.sort_values(["cfg", "steps", "solver", "grid", *NAMED]).to_dict("records"):
        setting = Setting(**{name: row[name] for name in FIELDS})
        lines.append((setting.key, *(f"{row[m.name]:.4g}" for m in metrics)))
    return markdown(("sampler setting", *(m.label for m in metrics)), lines)


if __name__ == "__main__":
    sys.exit(main())
