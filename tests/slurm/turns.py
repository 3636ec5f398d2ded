"""One cluster for all test processes of this machine: they take turns, and the last one stops it.

A turn is one test. A process that kept the cluster for longer could block the others for ever: pytest-xdist
ends a worker only when the tests of the others are nearly done.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import TimeoutExpired

from .cluster import Cluster


class Turns:
    """This process's share in the cluster.

    Two lock files lie next to its folder: `.turn` is held by the process whose test runs, `.users` (shared) by
    every process that has used the cluster and has not left.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._turn = _open(cluster.folder.with_suffix(".turn"))
        self._users = _open(cluster.folder.with_suffix(".users"))
        self._joined = False
        self._failure: Exception | None = None

    @contextmanager
    def turn(self, knobs: dict[str, int | str]) -> Iterator[Cluster]:
        """The cluster as after a start with these knobs, for this process alone."""
        if self._failure:
            raise self._failure
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            self._prepare(knobs)
            yield self.cluster
            self._tidy()
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Stop the cluster, unless another process uses it."""
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        if self._joined and self._alone():
            self.cluster.stop()
        os.close(self._users)
        os.close(self._turn)

    def _prepare(self, knobs: dict[str, int | str]) -> None:
        # what runs though no test uses it was left behind, maybe by older scripts
        fresh = not self._joined and self._alone()
        if not self._joined:
            fcntl.flock(self._users, fcntl.LOCK_SH)
            self._joined = True
        if not fresh and self.cluster.knobs == knobs:
            with suppress(AssertionError, TimeoutExpired):
                self.cluster.reset()
                return
        try:
            self.cluster.start(**knobs)
        except Exception as problem:
            self._failure = problem  # it would fail as slowly before every test
            raise

    def _tidy(self) -> None:
        """Mend now, so that a problem shows at the test that made it; what cannot be mended is started anew."""
        try:
            self.cluster.reset()
        except Exception:
            self.cluster.stop()
            raise

    def _alone(self) -> bool:
        """Whether no other process uses the cluster. This one's own mark is lost: it joins, or leaves."""
        with suppress(BlockingIOError):
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
