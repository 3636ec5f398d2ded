"""The command ``flowbench NAME ...``: as ``python -m MODULE ...``, but safe from files of the folder where it runs.

Nothing of a command is imported before it is called by its name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import flowbench


@dataclass(frozen=True)
class Command:
    """``module`` has a function ``main(argv)`` that returns an exit code; ``line`` describes it."""

    module: str
    line: str


COMMANDS = {
    "grid": Command("bench.grid", "train formulations, measure them, and print which is best"),
    "compare": Command(
        "bench.compare", "train until one formulation is better or worse than another, or equivalent"
    ),
    "draw": Command("bench.draw", "draw images from a trained cell"),
    "keep": Command("bench.keep", "copy a trained model into a small folder with a card"),
    "dedup": Command("bench.dedup", "find near-duplicates among pictures, to leave them out"),
    "encode": Command("bench.encode", "encode a dataset into latents, once"),
    "autoencoder": Command("bench.autoencoder", "train a small autoencoder on your images"),
    "export": Command("bench.export", "write a trained MM-DiT for diffusers"),
    "plugins": Command("bench.plugins", "list what plugins can add to, and check new members"),
    "formulations": Command("formulations.__main__", "show, plot, list and check formulations"),
    "rank": Command("analysis.rank", "rank the formulations of a run, with the uncertainty of every number"),
    "report": Command("analysis.report.__main__", "write a run as one HTML page"),
    "archive": Command("analysis.archive", "write what is needed to check a run, without its cells"),
    "plots": Command("analysis.plots.__main__", "write the figures of a run"),
    "leaderboard": Command("analysis.leaderboard", "check submissions and write the leaderboard"),
    "pairs": Command("analysis.pairs", "compare formulations with a baseline in several runs"),
    "solvers": Command("analysis.solvers", "compare solvers and time grids at equal evaluations"),
    "fill": Command("analysis.fill", "put into a Markdown page what the commands print that it names"),
    "claims": Command("analysis.claims", "judge the claims of the study by results/RULES.md"),
    "learning-rates": Command("analysis.learning_rates", "compare learning rates by FID over formulations"),
    "autoencoders": Command(
        "analysis.autoencoders", "compare the FID of several autoencoders' latents by depth"
    ),
    "scaling": Command("analysis.scaling.__main__", "fit how the loss falls with compute"),
    "calibrate": Command("analysis.calibrate", "simulate how often the intervals hold the truth"),
    "ideal": Command("bench.ideal", "compute the FID that the sampling steps leave to a perfect network"),
    "recipes": Command("bench.recipes", "measure what the treatment of gradients and AdamW's betas cost"),
    "speed": Command("bench.speed.__main__", "benchmark training, sampling and metrics on this machine"),
    "reference": Command("bench.reference", "write what FID of a dataset compares with as an .npz file"),
    "parity": Command(
        "bench.parity.__main__", "compare FID and KID with clean-fid, torch-fidelity and torchmetrics"
    ),
    "analysis-speed": Command("analysis.speed", "benchmark the analysis on this machine"),
    "tinyclip": Command("bench.tinyclip", "train an image-text encoder on your captions"),
    "geneval": Command("bench.geneval", "score drawn prompts by a detector and GenEval's rules"),
    "composition": Command("bench.composition", "print the ceiling and the floors of that metric"),
}
"""Every command by its name."""
USAGE = "usage: flowbench COMMAND ..., for example: flowbench grid --help"


def overview() -> str:
    """How to call it, and a line for each command."""
    width = max(map(len, COMMANDS))
    rows = (f"  {name:<{width}}  {command.line}" for name, command in COMMANDS.items())
    return "\n".join([USAGE, "", *rows])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command by its name; returns its exit code, or 2 after one sentence about a name that is none.

    ``argv`` is the command's name and its arguments, by default those of this process.
    """
    flowbench.check_shadows()
    flowbench.report_missing()
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in ("-h", "--help"):
        print(overview())
        return 0
    name, *rest = given
    if name == "--version":
        name, rest = "grid", given
    if name not in COMMANDS:
        from flowbench._core.errors import nearest

        print(f"error: flowbench has no command {name!r}: {nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(COMMANDS[name].module).main(rest)
    return code
