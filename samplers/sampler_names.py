"""The listed samplers: one representative per parameter choice that the literature uses."""

from __future__ import annotations

from flowbench._core.grammar import Call
from samplers.sampler_registry import registry

STUDY = (
    "uniform",
    *(f"lognorm({m:.2f},{s:.2f})" for m in (-1, -0.5, 0, 0.5, 1) for s in (0.2, 0.6, 1, 1.4, 1.8, 2.2)),
    *(f"mode({s})" for s in ("-1.00", "-0.54", "-0.08", "0.38", "0.83", "1.00", "1.29", "1.75")),
    "cosmap",
)
"""The samplers that the study crosses with rectified flow (arXiv 2403.03206, section 5.1)."""

LATER = (
    "laplace(0.00,0.50)",
    "cauchy(0.00,1.00)",
    "cosshift(-1.39)",
    "cosscale(2.00)",
    "beta(1.50,1.00)",
    "ushape(4.00)",
    "trunclognorm(0.00,1.00,0.05,1.00)",
    "stretched(0.95,1.00,0.10)",
    "shift(3.00)",
    "shift(3.00,lognorm(0.00,1.00))",
    "clock(laplace(0.00,0.50))",
    "mix(0.90,lognorm(0.00,1.00))",
    "curriculum(lognorm(0.00,1.00),0.66)",
)
"""What came after it."""


def names() -> list[str]:
    """Canonical names: the study's, later ones, and those of plugins that need no number."""
    registry.load_installed()
    listed = [*STUDY, *LATER]
    known = {name.partition("(")[0] for name in listed}
    for entry in registry.entries.values():
        numbers = [entry.defaults.get(p) for p in entry.parameters]
        if entry.name not in known and all(isinstance(n, int | float) for n in numbers):
            listed.append(str(Call(entry.name, tuple(float(n) for n in numbers if n is not None))))
    return listed
