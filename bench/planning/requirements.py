"""Operations and bytes of a cell, by formula. Nothing is loaded, neither a dataset nor torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

from bench import encoders, objectives, optimisers
from bench.config.experiment import Cell, Grid, Images, Model, Training
from bench.data import Builder, get
from bench.data.shapes import WORLDS
from bench.encoders import Encoder, TextSizes
from bench.encoders.caption_index import find
from bench.metrics.compositional_accuracy import PARTS, parts_of
from bench.metrics.geneval_tasks import TASKS, tasks_of
from bench.metrics.run_metrics import columns
from bench.models.shape import Shape

USUAL = TextSizes(77, 2, 768, 768)
"""Sizes of CLIP ViT-L/14, for an encoder whose own cannot be read."""
COPIES = 4
"""Numbers a parameter in a checkpoint without the optimiser's: weights, EMA, the best EMA and the best weights so far."""
GENERATIONS = 2
"""Checkpoints of a cell at once."""
HEADER, ENTRY = 160, 85
"""Bytes of a safetensors file without its numbers: once, and for each tensor."""
NOTES, LINE = 6_000, 600
"""Bytes of a cell's JSON and its log, and of a validation's line of metrics."""


@dataclass(frozen=True)
class Requirements:
    """The operations (a multiplication and an addition are two) and bytes of a cell of a dataset with the grid's model and
    training. :func:`by_cell` gives those of a grid of several sizes."""

    grid: Grid
    dataset: str
    measured: bool = True
    """False for a cell that is only trained, as others build on it."""

    @property
    def builder(self) -> Builder:
        """What is declared of the dataset."""
        return get(self.dataset)

    @property
    def encoder(self) -> Encoder:
        """What is declared of the text encoder."""
        return encoders.get(self.grid.text)

    @property
    def extractor(self) -> Encoder:
        """What is declared of the extractor."""
        return encoders.get(self.grid.evaluation.extractor)

    @cached_property
    def shape(self) -> Shape:
        """The network of the cells."""
        model, known = self.grid.model, self.encoder.text_sizes() or USUAL
        width, heads = model.sizes
        channels, side, _ = self.builder.shape(self.grid.images.resolution)
        words = known.length if self.builder.words is None else self.builder.words + known.special
        sizes = (channels, min(known.length, words), known.width, known.pooled)
        return Shape(model.depth, width, heads, model.patch, side, *sizes, model.architecture)

    @cached_property
    def steps(self) -> float:
        """Operations of a cell's training steps: forward and, for twice as many, backward on every sample."""
        recipe = self.grid.training
        once = float(3 * recipe.steps * recipe.batch * self.shape.flops())
        return once * objectives.get(recipe.objective).passes

    @cached_property
    def training(self) -> float:
        """Operations of training a cell: its steps, and validations, which have no backward pass."""
        recipe = self.grid.training
        held = min(recipe.validations, recipe.steps) * recipe.validation_images
        return self.steps + float(held * self.shape.flops())

    def training_operations(self, recompute: bool) -> float:
        """Those of :attr:`training`, and with ``recompute`` one more forward pass of each sample: blocks are nearly all of
        it."""
        recipe = self.grid.training
        again = float(recipe.steps * recipe.batch * self.shape.flops())
        return self.training + (again if recompute else 0.0)

    @cached_property
    def generation(self) -> dict[str, float]:
        """Operations of generating a cell's images, by the name of the control setting in files."""
        evaluation = self.grid.evaluation
        each = evaluation.samples * self.shape.flops()
        if not self.measured:
            return {}
        return {control.name: float(control.work * each) for control in evaluation.controls}

    @property
    def extraction(self) -> float:
        """Operations of measuring one image."""
        return self.extractor.image_flops

    @cached_property
    def metrics(self) -> float:
        """Operations of measuring a cell's images."""
        return self.extraction * self.grid.evaluation.samples * len(self.generation)

    @property
    def reference(self) -> float:
        """Operations of measuring the reference images, once for each worker."""
        return self.extraction * self.grid.images.validation

    @property
    def encoding_of_one(self) -> float:
        """Operations of encoding one caption."""
        return self.encoder.caption_flops

    @property
    def encoding(self) -> float:
        """Operations of encoding every caption, as if all were different, once for each worker; none if they are on disk."""
        if find(self.builder.latents, self.grid.text):
            return 0.0
        return self.encoding_of_one * (self.grid.images.train + self.grid.images.validation)

    @cached_property
    def weight_files(self) -> int:
        """Bytes that training leaves: two files of weights, as many of each milestone, and notes."""
        named = HEADER + ENTRY * (18 * self.shape.depth + 11)
        lines = LINE * min(self.grid.training.validations, self.grid.training.steps)
        files = 2 * (1 + len(self.grid.training.milestones))
        return files * (4 * self.shape.parameters() + named) + NOTES + lines

    @cached_property
    def evaluation_files(self) -> int:
        """Bytes that an evaluation leaves: images with path lengths, and values of each sample, at most."""
        samples, settings = self.grid.evaluation.samples, len(self.generation)
        pixels = self.builder.channels * self.grid.images.resolution**2
        images = HEADER + 2 * ENTRY + samples * (pixels + 4)
        world = WORLDS.get(self.dataset)
        met = {"": True, "texts": self.extractor.texts, "shapes": world is not None}
        absent = {f"composition_{part}" for part in PARTS if world and part not in parts_of(world)}
        absent |= {f"geneval_{task}" for task in TASKS if world and task not in tasks_of(world)}
        metrics = columns(self.grid.evaluation.metrics)
        values = sum(m.per_sample and met[m.needs] and m.name not in absent for m in metrics)
        return settings * (images + values * (4 * samples + ENTRY)) + HEADER

    @cached_property
    def checkpoint_files(self) -> int:
        """Bytes of a cell's checkpoints while it trains."""
        return round(GENERATIONS * (COPIES + self.copies) * 4 * self.shape.parameters())

    @property
    def copies(self) -> float:
        """Numbers a parameter in the optimiser's state, at most, and of networks that only the objective reads."""
        recipe = self.grid.training
        return optimisers.get(recipe.optimiser).copies + objectives.get(recipe.objective).copies

    def training_bytes(self, parts: int = 1, recompute: bool = False, shards: int = 1) -> float:
        """Memory that training a cell takes, about, with ``parts`` micro-batches a step, blocks computed again in the
        backward pass or not, and parameters divided into ``shards``."""
        return self.shape.training_bytes(self.grid.training.batch // parts, self.copies, recompute, shards)

    def parameter_bytes(self, shards: int = 1) -> float:
        """The part of it that does not depend on the batch."""
        return self.shape.parameter_bytes(self.copies, shards)


Look = Callable[[Cell], Requirements]


def by_cell(grid: Grid) -> Look:
    """The requirements of each cell of a grid, computed once for every dataset, model, training and stage."""

    @cache
    def found(dataset: str, model: Model, images: Images, training: Training, measured: bool) -> Requirements:
        grid_of_one = replace(grid, networks=(), equal="size", depths=(), budgets=())
        changed = replace(grid_of_one, model=model, images=images, training=training)
        return Requirements(changed, dataset, measured)

    last = len(grid.earlier)
    return lambda cell: found(
        cell.dataset, cell.model, cell.images, cell.training, len(cell.ancestors) == last
    )
