"""Weights & Biases. Its own variables choose where to: ``WANDB_PROJECT``, ``WANDB_ENTITY``, ``WANDB_MODE=offline``, ..."""

from __future__ import annotations

import os
from collections.abc import Mapping

from bench.tracking.tracker import About, Log, Tracker, register


class Run:
    """The run of a cell; one that begins again takes the place of the earlier one."""

    def __init__(self, about: About) -> None:
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "flowbench"),
            group=about.out.name,
            id=f"{about.out.name}-{about.id}",
            name=about.name,
            config=dict(about.config),
            dir=about.out,
            resume="allow" if about.step else None,
            reinit="create_new",  # cells of a pack are tracked at the same time
            settings=wandb.Settings(console="off", quiet=True),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step."""
        self.run.log(dict(values), step=step)

    def finish(self) -> None:
        """End the run."""
        self.run.finish()


@register("wandb")
def wandb() -> Tracker:
    """Weights & Biases, a run a cell."""
    start: type[Log] = Run
    return Tracker(start, "wandb")
