"""The processes of a worker on this machine: one, or several replicas that train together. No torch."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from queue import SimpleQueue

from bench.launch.codes import ENDINGS
from flowbench._core.errors import UserError

GRACE = 30.0
"""Seconds that the others have to end by themselves after one has died, or the first one has ended."""


class Processes:
    """Replicas: none continues without the others. ``start`` starts the one of a rank, and all or none are started;
    ``changed`` is put to when one ends."""

    def __init__(
        self,
        start: Callable[[int], subprocess.Popen[bytes]],
        ranks: Iterable[int],
        changed: SimpleQueue[None],
    ) -> None:
        self.children: list[subprocess.Popen[bytes]] = []
        self.changed = changed
        self.died: int | None = None
        self.until = float("inf")
        try:
            for rank in ranks:
                self.children.append(start(rank))
        except BaseException:
            self.send(signal.SIGKILL)
            raise
        for child in self.children:
            threading.Thread(target=self._wait, args=(child,), daemon=True).start()

    def poll(self) -> int | None:
        """The exit code once all have ended: the first one's, or that of the one that died before; None before that."""
        codes = [child.poll() for child in self.children]
        if self.died is None:
            self.died = next((code for code in codes if code is not None and code not in ENDINGS), None)
        if (self.died is not None or codes[0] is not None) and self.until == float("inf"):
            self.until = time.monotonic() + GRACE
        if None not in codes:
            return codes[0] if codes[0] in ENDINGS or self.died is None else self.died
        if time.monotonic() > self.until:
            self.send(signal.SIGKILL)
        return None

    def send(self, number: int) -> None:
        """Send a signal to those that run."""
        for child in self.children:
            with suppress(ProcessLookupError):
                child.send_signal(number)

    def _wait(self, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        self.changed.put(None)


def own_device(environment: Mapping[str, str], place: int, count: int) -> dict[str, str]:
    """What the replica at ``place`` of ``count`` on this machine adds to its environment: its own of the GPUs there. Raises
    :class:`UserError` if they are too few."""
    given = environment.get("CUDA_VISIBLE_DEVICES", "")
    if count == 1 or not given:
        return {}
    gpus = given.split(",")
    if len(gpus) < count:
        raise UserError(f"{count} replicas on a machine need {count} GPUs, and it gives {len(gpus)}: {given}")
    return {"CUDA_VISIBLE_DEVICES": gpus[place]}
