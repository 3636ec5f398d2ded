"""What ``python -m formulations`` prints, as wide as the screen: no word and no number is cut."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from flowbench._core.lazy import lazy
from flowbench._core.readable import width, wrapped
from formulations.catalogue import bases, names
from formulations.formulation import Coeffs, Formulation
from samplers.sampler_registry import registry as sampler_registry

torch = lazy("torch")

WIDE = 110
"""Columns of what is no terminal: a file or a pipe."""
U = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles at which the coefficients are shown."""
NUMBER = 9
"""Columns of a number."""
SUITES = {
    "paper": "the study's (arXiv 2403.03206)",
    "published": "those with numbers in the paper",
    "extra": "what came after",
    "registered": "from plugins and installed packages",
}
EXAMPLES = {
    "": "what there is",
    " rf 'rf/lognorm(0,1)' edm": "formula, coefficients, training budget",
    " '*/lognorm(0,1)' --plot out.svg": "one sampler behind every base, as a picture",
    " list paper": "the names of a suite, one per line",
    " check my.py": "check what a plugin adds before training it",
}


def columns() -> int:
    """The width of standard output."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def overview(room: int) -> str:
    """The suites, and all of what names are made."""
    parts = {
        "bases": [*bases(), "<target>/<path>"],
        "targets": ["x", "eps", "v", "u (velocity)", "F(sd)"],
        "paths": ["rf", "linear", "ztlinear", "cos", "vp(beta_min,beta_max)", "ve", "trig(sd)", "poly(n)"],
        "samplers": [entry.template for entry in sampler_registry.entries.values()],
        "spaces": ["@x", "@eps", "@v"],
        "weights": [
            *("+minsnr(g)", "+softminsnr(g)", "+p2(k,g)", "+debiased(cap)", "+sigmoid(bias)"),
            *("+edmmono(Pm,Ps,sd)", "+bell"),
        ],
    }
    lines = ["Formulations by suite:"]
    for suite, text in SUITES.items():
        lines += hanging(f"  {suite:<11}{len(names(suite)):>4}  ", text, room)
    lines += ["", *wrapped("A name is base[/sampler][@space][+weight].", room)]
    for part, choices in parts.items():
        lines += hanging(f"  {part:<10}", ", ".join(choices), room)
    return "\n".join([*lines, "", examples(room)])


def examples(room: int) -> str:
    """Commands, each with what it is for."""
    shown = {f"python -m formulations{arguments}": what for arguments, what in EXAMPLES.items()}
    wide = max(map(len, shown)) + 4
    lines = ["examples:"]
    for command, what in shown.items():
        if 2 + wide + max(map(len, shown.values())) <= room:
            lines.append(f"  {command:<{wide}}{what}")
        else:
            lines += [" \\\n".join(hanging("  ", command, room - 2)), *hanging(" " * 4, what, room)]
    return "\n".join(lines)


def describe(f: Formulation, room: int) -> str:
    """Text for people: formula, the seven scalars at a few quantiles, the budget per fifth of the clock."""
    from formulations.profile import budget, law

    lines = [f.name]
    for part in (*f.formula.split(";"), f"times {law(f)}"):
        lines += hanging("  ", part.strip(), room)
    u = torch.tensor(U, dtype=torch.float64)
    t = f.times(u)
    values = dict(zip(("t", "clock", *Coeffs._fields), (t, f.clock(t), *f.coeffs(t)), strict=True))
    some = max(1, (room - 2) // NUMBER - 1)
    for first in range(0, len(values), some):
        shown = {"u": u} | dict(list(values.items())[first : first + some])
        lines.append("  " + "".join(f"{head:>{NUMBER}}" for head in shown))
        rows = zip(*shown.values(), strict=True)
        lines += ["  " + "".join(f"{float(z):>{NUMBER}.4g}" for z in row) for row in rows]
    for phase, progress in (("", 0.0), (" at the end", 1.0))[: 2 if f.law.switch else 1]:
        label = f"training budget per fifth of the clock{phase}, data to noise: "
        shares = "".join(f" {100 * z:.0f}% " for z in budget(f, progress=progress))
        lines += hanging("  ", (label + shares).rstrip(), room)
    return "\n".join(lines)


def hanging(head: str, text: str, room: int) -> list[str]:
    """Wrap a text behind a head, further lines indented to its width."""
    first, *rest = wrapped(text, room - width(head), "")
    return [head + first, *(" " * width(head) + line for line in rest)]


def checked(name: str, passed: Sequence[str], room: int) -> str:
    """What a formulation has passed."""
    return "\n".join([f"{name}: ok", *(line for text in passed for line in hanging("  ", text, room))])
