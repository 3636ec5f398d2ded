"""One dataset made ready: its images, its encoded captions, and what its metrics compare with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench import encoders
from bench.config.experiment import VALIDATION, Cell, Evaluation, Grid, Images, Model
from bench.config.seeds import seed_for
from bench.data import Dataset, get, load
from bench.encoders import Extractor, extractor, text_features
from bench.encoders.caption_store import encoded
from bench.encoders.text import Captions, unread
from bench.metrics import reference_file
from bench.metrics.metric import Measure, Reference
from bench.metrics.names import full_names
from bench.metrics.reference_features import reference_features
from bench.metrics.run_metrics import measures
from bench.models import Shape
from bench.objectives import Batch
from bench.training.batches import Batches, validation_batch
from bench.training.replicas import ALONE, Replicas


@dataclass(frozen=True)
class TrainingInputs:
    """All that training reads of one dataset."""

    data: Dataset
    captions: Captions

    def shape(self, model: Model) -> Shape:
        """The network for this dataset's inputs and captions."""
        return Shape.of(model, self.data.train.shape, self.captions)

    def batches(self, cell: Cell, device: torch.device, replicas: Replicas = ALONE) -> Batches:
        """What the steps of a cell's training draw."""
        recipe = cell.training
        draws = seed_for("stage", len(cell.ancestors), cell.seed) if cell.init else cell.seed
        how = draws, recipe.batch, recipe.dropout, device, recipe.drop_encoders, replicas
        return Batches(self.data, self.captions.dropped_to(recipe.dropped), *how)

    def held(self, cell: Cell, device: torch.device) -> tuple[Batch, Tensor]:
        """What a cell is validated on."""
        return validation_batch(self.data, self.captions, cell.training.validation_images, device)


@dataclass(frozen=True)
class Setup(TrainingInputs):
    """Everything that the cells of one dataset share.

    ``chosen`` are the validation captions that are sampled and measured, the same for every cell, by every one of
    ``measures`` and against ``reference``. ``cut`` captions are longer than the text encoder reads, ``unknown`` are mostly
    outside of its vocabulary.
    """

    text_name: str
    extractor: Extractor
    chosen: tuple[str, ...]
    text_features: Tensor | None
    reference: Reference
    measures: tuple[Measure, ...]
    cut: int
    unknown: int

    def remarks(self) -> list[str]:
        """Remarks on how the data were read, for the user, a line each; of items left out no more than twenty."""
        lines = [*self.data.notes, *(f"skipped {item}" for item in self.data.skipped[:20])]
        if (more := len(self.data.skipped) - 20) > 0:
            lines.append(f"skipped {more:,} more")
        captions = len({*self.data.train.texts(), *self.data.validation.texts()})
        return lines + unread(self.cut, self.unknown, captions, self.text_name)

    def names(self) -> dict[str, str | None]:
        """The full names of the metrics: extractor, preprocessing, reference set and n."""
        return full_names(self.measures, self.reference, len(self.chosen))


def training_inputs(dataset: str, images: Images, grid: Grid, device: torch.device) -> TrainingInputs:
    """Load a dataset and encode its captions, nothing else."""
    data = load(dataset, **asdict(images))
    texts = [*data.train.texts(), *data.validation.texts(), *grid.further_texts]
    return TrainingInputs(data, encoded(grid.text, texts, device, get(dataset).latents).captions)


def make(dataset: str, grid: Grid, device: torch.device) -> Setup:
    """Load a dataset, encode its captions and the reference features."""
    data, evaluation = load(dataset, **asdict(grid.images)), grid.evaluation
    measure = extractor(evaluation.extractor, str(device))
    chosen = choose(data, evaluation)
    texts = [*data.train.texts(), *data.validation.texts(), *grid.further_texts]
    given = None
    if evaluation.reference != VALIDATION:
        given = reference_file.read(Path(evaluation.reference), measure, str(device))
    for spec in dict.fromkeys([grid.text, evaluation.extractor]):
        encoders.get(spec).check_words(data.train.texts(), dataset)
    text = encoded(grid.text, texts, device, get(dataset).latents)
    return Setup(
        data,
        text.captions,
        text.name,
        measure,
        chosen,
        text_features(measure, chosen),
        Reference(data, measure, reference_features(data, measure, str(device)), given),
        measures(evaluation.metrics),
        text.cut,
        text.unknown,
    )


def choose(data: Dataset, evaluation: Evaluation) -> tuple[str, ...]:
    """The captions to sample: those of the validation images in a fixed shuffled order, repeated if there are too few.

    Of an image with several, each time the next, from one that is drawn.
    """
    rng = np.random.default_rng(seed_for("captions", data.name))
    every = data.validation.every()
    order, first = rng.permutation(len(every)), rng.integers(1 << 30, size=len(every))
    rounds = (divmod(i, len(every)) for i in range(evaluation.samples))
    places = ((again + first[order[i]], every[order[i]]) for again, i in rounds)
    return tuple(captions[place % len(captions)] for place, captions in places)
