"""The images of a pack, one control setting after the other: read if they are there, else generated and written.

A file holds ``images`` (uint8 ``[n, C, H, W]``) and with them ``path_length`` (float32 ``[n]``,
:mod:`bench.sampling.generate`).

They are kept under the hash of how they are sampled, so that other settings or another extractor generate nothing again;
those of a plugin's solver keep a digest of its text, and are generated again if that is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from bench import solvers
from bench.config.experiment import Evaluation
from bench.config.sampling_settings import ControlSetting
from bench.models.flat import Flat
from bench.models.network import Network
from bench.planning.plan import Planned
from bench.runfolder import store
from bench.sampling.generate import Sampled, generate, start_noise
from bench.sampling.times import begun
from bench.worker.control import Bench
from bench.worker.setup import Setup
from flowbench._core import atomic
from formulations import Formulation


class Lost(Exception):
    """A trained cell whose weights are damaged."""

    def __init__(self, planned: Planned, error: Exception) -> None:
        super().__init__(str(error))
        self.planned = planned


class Pictures:
    """Iterates over (control setting, samples with uint8 images). Raises :class:`Lost` for damaged weights."""

    def __init__(
        self,
        pack: Sequence[Planned],
        members: Sequence[Formulation],
        setup: Setup,
        evaluation: Evaluation,
        bench: Bench,
    ) -> None:
        self.pack, self.members, self.setup, self.evaluation, self.bench = (
            pack,
            [begun(f, evaluation.start) for f in members],
            setup,
            evaluation,
            bench,
        )
        self.rows = setup.captions.rows(setup.chosen)
        self.work = len(self.rows) * sum(control.work for control in evaluation.controls)
        self.done = self.drawn = 0
        self._model: tuple[Network, Flat] | None = None
        self._weights: tuple[str, torch.Tensor] | None = None

    def __iter__(self) -> Iterator[tuple[ControlSetting, Sampled]]:
        for control in self.evaluation.controls:
            with self.bench.stages("generate"):
                samples = self.kept(control)
                if samples is None:
                    samples = self.generated(control)
                else:
                    self.done += control.work * len(self.rows)
                    self.bench.watch("evaluate", f"{control.name}, there already", self.done / self.work)
            yield control, samples

    def files(self, name: str) -> list[Path]:
        """Where the images of a setting are kept, for each cell."""
        return [store.images_file(p.folder, self.evaluation.sampling, name) for p in self.pack]

    def kept(self, control: ControlSetting) -> Sampled | None:
        """The images and their path lengths if all cells have them undamaged, drawn by the solver as it is now."""
        files = self.files(control.name)
        if not all(path.exists() for path in files):
            return None
        try:
            if any(
                atomic.read_about(path).get("solvers", {}) != solvers.texts([control.solver])
                for path in files
            ):
                return None
            found = [read(path) for path in files]
            return Sampled(*map(torch.stack, zip(*found, strict=True)))
        except (atomic.Damaged, RuntimeError) as error:
            self.bench.control.say(f"generated again: {error}")
            return None

    def generated(self, control: ControlSetting) -> Sampled:
        """Generate the images of a setting, and keep them."""
        cell, setup = self.pack[0].cell, self.setup
        model, flat = self.model()
        matrix, noise = (
            self.weights(control.weights, flat),
            start_noise(setup.data.name, len(self.rows), setup.data.train.shape),
        )
        images, lengths = [], []
        for part in generate(
            model,
            flat,
            matrix,
            self.members,
            setup.captions.dropped_to(cell.training.dropped),
            self.rows,
            noise,
            control,
            cell.training.precision,
        ):
            images.append(setup.data.decode(part.images).cpu())
            lengths.append(part.path_length.cpu())
            self.drawn += part.images.shape[0] * part.images.shape[1]
            self.done += part.images.shape[1] * control.work
            self.bench.watch(
                "evaluate",
                f"{control.name}, {len(self.rows)} images",
                self.done / self.work,
                self.drawn,
                "image",
            )
        samples = Sampled(torch.cat(images, dim=1), torch.cat(lengths, dim=1))
        with self.bench.stages("store"):
            self.bench.control.guard([planned.folder for planned in self.pack])
            about = {"solvers": texts} if (texts := solvers.texts([control.solver])) else None
            for path, *each in zip(self.files(control.name), *samples, strict=True):
                atomic.write_tensors(path, dict(zip(Sampled._fields, each, strict=True)), about)
        return samples

    def model(self) -> tuple[Network, Flat]:
        """The network of the pack, made when first needed."""
        if self._model is None:
            cell = self.pack[0].cell
            shape = self.setup.shape(cell.model)
            made = shape.build(len(self.pack)).to(self.bench.device)
            self._model = made, Flat(made)
        return self._model

    def weights(self, kind: str, flat: Flat) -> torch.Tensor:
        """The members' weights of a kind, ``[E, P]``."""
        if self._weights is None or self._weights[0] != kind:
            rows = []
            for planned in self.pack:
                try:
                    rows.append(flat.row(atomic.read_tensors(store.weights_file(planned.folder, kind))[0]))
                except atomic.Damaged as error:
                    raise Lost(planned, error) from None
            self._weights = kind, torch.stack(rows).to(self.bench.device)
        return self._weights[1]


def read(path: Path) -> Sampled:
    """The samples of one cell. Raises :class:`flowbench._core.atomic.Damaged` for a file that lacks a part of them."""
    kept = atomic.read_tensors(path)[0]
    lacking = [part for part in Sampled._fields if part not in kept]
    if lacking:
        raise atomic.Damaged(f"{path} holds no {' and no '.join(lacking)}")
    return Sampled(*(kept[part] for part in Sampled._fields))
