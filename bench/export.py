"""``python -m bench.export RUN FORMULATION --to DIR``: a trained MM-DiT as diffusers' ``SD3Transformer2DModel``.

DIR/transformer/    the network; its outputs are compared with ours before anything is written
DIR/scheduler/      for rectified flow: FlowMatchEulerDiscreteScheduler without shift
DIR/flowbench.json  the formulation, what its inputs and captions are, and with which options public trainers train it
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import data
from bench.drawing import Trained, choose, trained
from bench.models.architecture import get
from bench.models.mmdit_size import MMDiTs
from bench.models.shape import Shape
from flowbench._core import atomic
from flowbench._core.command import Parser, outcome
from flowbench._core.errors import UserError
from flowbench._core.plugin import load_plugin
from flowbench._core.terminal import short
from formulations import public_trainers

if TYPE_CHECKING:
    import torch

    from bench.models.networks.mmdit import MMDiT

NEAR = 1e-5
"""How far outputs may differ, as a fraction of the largest."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for a user's mistake, 130 if interrupted."""
    return outcome(lambda: command(argv))


def command(argv: Sequence[str] | None) -> int:
    """What :func:`main` does, with mistakes as exceptions."""
    parser = Parser(prog="python -m bench.export", description=__doc__)
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("formulation", help="a formulation that was trained there")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--dataset", metavar="DATA", help="which of a run's datasets")
    parser.add_argument("--cell", metavar="ID", help="which cell (default: the first seed)")
    parser.add_argument(
        "--weights", choices=("ema", "raw"), default="ema", help="which weights (default: ema)"
    )
    parser.add_argument("--plugin", nargs="+", default=[], metavar="FILE", help="the run's plugin files")
    args = parser.parse(argv)
    for file in args.plugin:
        load_plugin(file)
    found = choose(trained(args.run), args.formulation, args.dataset, args.cell)
    print(export(found, args.weights, args.to))
    return 0


def export(found: Trained, weights: str, to: Path) -> str:
    """Write a cell's network for diffusers; returns what to do with it.

    Raises :class:`UserError` for another network than diffusers has, and without diffusers.
    """
    cell = found.cell
    kind = exported(cell.model.architecture)
    model = network(found, weights)
    theirs = counterpart(model, kind)
    compare(model, theirs)
    trained_by = public_trainers.options(cell.formulation)
    facts = about(found) | {"trainers": trained_by}
    to.mkdir(parents=True, exist_ok=True)
    theirs.save_pretrained(to / "transformer")
    if public_trainers.is_rectified_flow(cell.formulation):
        from diffusers import FlowMatchEulerDiscreteScheduler

        FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.0).save_pretrained(to / "scheduler")
    atomic.write_json(to / "flowbench.json", facts)
    written = f"{short(to)}: {cell.formulation} on {cell.dataset}, outputs equal ours to {NEAR:g}"
    if public_trainers.law(cell.formulation) is None:
        return f"{written}; no public trainer that is known here trains this formulation"
    how = (f"  {t.name}: {trained_by[t.name] or f'none, as {t.lacks}'}" for t in public_trainers.TRAINERS)
    return "\n".join((f"{written}; public trainers train it with", *how))


def exported(architecture: str) -> MMDiTs:
    """The network of that name. Raises :class:`UserError` for one that has no class in diffusers."""
    kind = get(architecture)
    if not isinstance(kind, MMDiTs) or kind.options.gelu != "tanh" or kind.text_sets > 1:
        raise UserError(
            f"the network {architecture!r} has no class in diffusers: train with --model mmdit:gelu=tanh, "
            f"which has the GELU of SD3Transformer2DModel"
        )
    return kind


def network(found: Trained, weights: str) -> MMDiT:
    """The trained network with one member."""
    from bench.models.flat import Flat
    from bench.models.networks.mmdit import MMDiT

    cell = found.cell
    named = atomic.read_tensors(found.folder / f"{weights}.safetensors")[0]
    channels, side, _ = data.get(cell.dataset).shape(cell.images.resolution)
    text = 1, named["text.weight"].shape[0], named["pooled_in.weight"].shape[0]
    shape = Shape(
        cell.model.depth, *cell.model.sizes, cell.model.patch, side, channels, *text, cell.model.architecture
    )
    model = shape.build()
    assert isinstance(model, MMDiT)
    flat = Flat(model)
    flat.weights.copy_(flat.row(named)[None].float())
    return model.eval()


def counterpart(model: MMDiT, kind: MMDiTs) -> Any:
    """diffusers' network with the same weights. Raises :class:`UserError` if diffusers is not installed."""
    from bench.models.networks.sd3_weights import configuration, converted

    try:
        from diffusers import SD3Transformer2DModel
    except ImportError:
        raise UserError("exporting needs diffusers: `pip install 'flowbench[latents]'`") from None
    named = {name: parameter.detach()[0] for name, parameter in model.named_parameters()}
    theirs = SD3Transformer2DModel(**configuration(model.shape, kind.options))
    theirs.load_state_dict(converted(named, model.get_buffer("positions"), model.shape))
    return theirs.eval()


def compare(model: MMDiT, theirs: Any) -> None:
    """Raise :class:`UserError` if outputs differ by more than :data:`NEAR`."""
    import torch

    shape, draw = model.shape, torch.Generator().manual_seed(0)

    def noise(*sizes: int) -> torch.Tensor:
        return torch.randn(*sizes, generator=draw)

    x, tokens = noise(3, shape.channels, shape.resolution, shape.resolution), noise(3, 5, shape.text_width)
    pooled, clock = noise(3, shape.pooled_width), torch.tensor([0.05, 0.5, 0.95])
    with torch.no_grad():
        ours = model(x[None], clock[None], tokens, pooled)[0]
        other = theirs(x, tokens, pooled, 1000 * clock).sample
    if (gap := float((ours - other).abs().max() / ours.abs().max())) > NEAR:
        raise UserError(
            f"diffusers' network gives other outputs ({gap:.1e}): this version of diffusers is not known"
        )


def about(found: Trained) -> dict[str, Any]:
    """What a user of the exported network has to know. Raises :class:`UserError` if its data have changed since."""
    from bench.worker import provenance

    cell = found.cell
    dataset = data.load(cell.dataset, **asdict(cell.images))
    provenance.verify_inputs(found.folder, {"data": dataset.digest})
    values = "pixels 0 to 255" if dataset.decoder is None else "latents (z - shift_factor) scaling_factor"
    return {
        "formulation": cell.formulation,
        "cell": cell.id,
        "time": "timestep = 1000 c_noise, 0 for data",
        "dataset": cell.dataset,
        "data": list(dataset.notes),
        "shape": list(dataset.train.shape),
        "inputs": f"c_in x_t, x = (value / unit - offset - mean) / std with `scale`; values are {values}",
        "scale": asdict(dataset.train.scale),
        "text": cell.text,
        "unconditional": "zeros for tokens and pooled vector",
    }


if __name__ == "__main__":
    sys.exit(main())
