"""Sentences of captions."""

from __future__ import annotations

from collections.abc import Mapping

INTERVALS = "bars 95 % intervals over seeds, without what all formulations of a seed share"


def sentences(*parts: str) -> str:
    """A caption of what is not empty."""
    return " ".join(part for part in parts if part)


def left_out(lost: Mapping[str, str]) -> str:
    """A sentence that names what is not in a figure, and why; empty if all is."""
    if not lost:
        return ""
    reasons = {why: [name for name in lost if lost[name] == why] for why in dict.fromkeys(lost.values())}
    parts = [f"{', '.join(names)} ({why})" for why, names in reasons.items()]
    return f"Left out: {'; '.join(parts)}."


def merged(lost: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is lost on some datasets, and why; where, if not on all."""
    found = {}
    for name in dict.fromkeys(name for names in lost.values() for name in names):
        reasons = {dataset: names[name] for dataset, names in lost.items() if name in names}
        everywhere = len(reasons) == len(lost) and len(set(reasons.values())) == 1
        parts = [f"{why} on {dataset}" for dataset, why in reasons.items()]
        found[name] = next(iter(reasons.values())) if everywhere else ", ".join(parts)
    return found
