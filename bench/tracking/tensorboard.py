"""TensorBoard: event files in ``DIR/tensorboard``, a folder a cell. ``tensorboard --logdir DIR`` shows them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from bench.tracking.tracker import About, Log, Tracker, register


class Events:
    """The event files of a cell; what an interrupted training wrote after its last checkpoint is purged."""

    def __init__(self, about: About) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = about.out / "tensorboard" / about.name
        if not about.step:
            shutil.rmtree(folder, ignore_errors=True)
        self.writer = SummaryWriter(str(folder), purge_step=about.step + 1 if about.step else None)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A scalar for each value."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self.writer.close()


@register("tensorboard")
def tensorboard() -> Tracker:
    """Event files in the run folder."""
    start: type[Log] = Events
    return Tracker(start, "tensorboard")
