"""Trackio, Hugging Face's local tracker. Its own variables choose where to: ``TRACKIO_DIR``, ``TRACKIO_SPACE_ID``, ..."""

from __future__ import annotations

from collections.abc import Mapping

from bench.tracking.tracker import About, Log, Tracker, register


class Run:
    """The run of a cell in the project ``flowbench``."""

    def __init__(self, about: About) -> None:
        import trackio

        self.run = trackio.init(
            project="flowbench",
            group=about.out.name,
            name=f"{about.out.name}-{about.name}",
            config=dict(about.config),
            resume="allow" if about.step else "never",
            embed=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """The values of a step."""
        self.run.log(dict(values), step=step)

    def finish(self) -> None:
        """End the run."""
        self.run.finish()


@register("trackio")
def trackio() -> Tracker:
    """Trackio, a run a cell."""
    start: type[Log] = Run
    return Tracker(start, "trackio")
