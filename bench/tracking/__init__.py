"""Shows cells while they train, in services such as TensorBoard: one file a tracker. Called by workers and command lines.

Tracking is no part of what a cell is, and changes no number. Importing needs neither torch nor any service. A plugin adds
one with ``@register("mine")`` on a function that returns a ``Tracker``.
"""

from bench.tracking import tensorboard, trackio, wandb  # noqa: F401  (importing registers the names)
from bench.tracking.check_tracker import check
from bench.tracking.pack_logs import Tracked
from bench.tracking.tracker import About, Log, Tracker, get, register, registry

__all__ = ["About", "Log", "Tracked", "Tracker", "check", "get", "register", "registry"]

registry.check = check
