"""``python -m bench.speed``: what the harness costs, measured on this machine. A benchmark, not a test.

* ``step``: one training step (forward, backward) of our MM-DiT with one member against diffusers' SD3Transformer2DModel
  of the same size, eager against eager and compiled against compiled, timed in alternation in one process;
* ``members``: a step of E members in one graph against E steps of one member;
* ``data``: seconds to render 20,000 images of ``shapes``;
* ``commands``: wall time and peak memory of ``--help``, ``--dry-run``, ``smoke`` and ``quick`` as a user runs them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import store
from bench.config import preset
from bench.data import shapes
from bench.machine import device_name, versions
from bench.memory import keep_freed_memory
from bench.models.mmdit import MMDiT, initialise
from bench.models.shape import Shape
from samplers.errors import UserError, nearest

PARTS = ("step", "members", "data", "commands")

SIZES = {
    "depth 2, 16 + 12 tokens, batch 32": (Shape(2, 128, 2, 4, 16, 3, 12, 96, 64), 32),
    "depth 2, 64 + 12 tokens, batch 32": (Shape(2, 128, 2, 2, 16, 3, 12, 96, 64), 32),
    "depth 4, 64 + 16 tokens, batch 16": (Shape(4, 256, 4, 2, 16, 3, 16, 96, 64), 16),
}


@dataclass(frozen=True)
class Row:
    """One line of the table: medians in milliseconds (or seconds for commands), and the median of the paired ratios."""

    what: str
    ours: float
    other: float | None
    ratio: float | None
    note: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print one table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench.speed", description=__doc__.split("\n\n")[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), metavar="PART", help=" ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=15, help="alternations of every pair")
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled pairs out")
    parser.add_argument("--presets", nargs="*", default=["smoke", "quick"], help="presets to run whole")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows with device, versions and commit"
    )
    args = parser.parse_args(argv)
    keep_freed_memory()
    try:
        for part in args.parts:
            if part not in PARTS:
                raise UserError(f"--parts {part!r}: {nearest(part, PARTS)}")
        for name in args.presets:
            preset(name)
        if args.repeats < 1:
            raise UserError(f"--repeats {args.repeats}: must be greater than 0")
        rows: list[Row] = []
        if "step" in args.parts:
            rows += step_rows(args.repeats, compiled=not args.no_compile)
        if "members" in args.parts:
            rows += member_rows(args.repeats)
        if "data" in args.parts:
            rows += data_rows()
        if "commands" in args.parts:
            rows += command_rows(args.presets)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(rows)
    if args.json:
        store.write_json(args.json, {"machine": machine(), "rows": [asdict(row) for row in rows]})
    return 0


def pair(ours: Callable[[], Any], other: Callable[[], Any], repeats: int) -> tuple[float, float, float]:
    """Medians in milliseconds of two functions called in turn, and the median of their ratios."""
    for _ in range(2):
        ours(), other()
    times = [(clocked(ours), clocked(other)) for _ in range(repeats)]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return medians[0], medians[1], statistics.median(a / b for a, b in times)


def clocked(function: Callable[[], Any]) -> float:
    """Milliseconds of one call."""
    started = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started)


def device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def our_step(shape: Shape, batch: int, members: int, compiled: bool) -> Callable[[], None]:
    """Forward and backward of our model."""
    model = MMDiT(shape, members)
    initialise(model, torch.Generator().manual_seed(0))
    model.to(device())
    network = torch.compile(model, dynamic=False) if compiled else model
    size = (members, batch, shape.channels, shape.resolution, shape.resolution)
    given = (torch.randn(size), torch.rand(members, batch), *text(shape, batch))
    x, clock, tokens, pooled = (part.to(device()) for part in given)

    def step() -> None:
        model.zero_grad()
        network(x, clock, tokens, pooled).square().mean().backward()

    return step


def diffusers_step(shape: Shape, batch: int, compiled: bool) -> Callable[[], None]:
    """Forward and backward of diffusers' model of the same size."""
    try:
        from diffusers import SD3Transformer2DModel
    except ImportError:
        raise UserError("the part 'step' compares with diffusers: pip install -e '.[speed]'") from None
    model = SD3Transformer2DModel(
        sample_size=shape.resolution,
        patch_size=shape.patch,
        in_channels=shape.channels,
        out_channels=shape.channels,
        num_layers=shape.depth,
        attention_head_dim=shape.width // shape.heads,
        num_attention_heads=shape.heads,
        joint_attention_dim=shape.text_width,
        caption_projection_dim=shape.width,
        pooled_projection_dim=shape.pooled_width,
        pos_embed_max_size=shape.side,
        qk_norm="rms_norm",
    ).to(device())
    assert sum(p.numel() for p in model.parameters()) == shape.parameters()
    network = torch.compile(model, dynamic=False) if compiled else model
    x = torch.randn(batch, shape.channels, shape.resolution, shape.resolution, device=device())
    tokens, pooled = (part.to(device()) for part in text(shape, batch))
    times = 1000 * torch.rand(batch, device=device())

    def step() -> None:
        model.zero_grad()
        out = network(
            hidden_states=x,
            encoder_hidden_states=tokens,
            pooled_projections=pooled,
            timestep=times,
            return_dict=False,
        )[0]
        out.square().mean().backward()

    return step


def text(shape: Shape, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Captions of the right size."""
    return torch.randn(batch, shape.text_length, shape.text_width), torch.randn(batch, shape.pooled_width)


def step_rows(repeats: int, compiled: bool) -> list[Row]:
    """Our step against diffusers'."""
    rows = []
    for name, (shape, batch) in SIZES.items():
        for how in (False, True) if compiled else (False,):
            ours, other, ratio = pair(
                our_step(shape, batch, 1, how), diffusers_step(shape, batch, how), repeats
            )
            rows.append(
                Row(
                    f"step, {name}, {'compiled' if how else 'eager'}",
                    ours,
                    other,
                    ratio,
                    "ms; other: diffusers",
                )
            )
            torch.compiler.reset()
    return rows


def member_rows(repeats: int) -> list[Row]:
    """E members in one graph against E steps of one."""
    shape, batch = Shape(3, 64, 1, 4, 16, 3, 12, 96, 64), 16
    rows = []
    alone = our_step(shape, batch, 1, False)
    for members in (4, 8, 16):

        def one_by_one(members: int = members) -> None:
            for _ in range(members):
                alone()

        ours, other, ratio = pair(our_step(shape, batch, members, False), one_by_one, repeats)
        rows.append(
            Row(
                f"{members} members, depth 3, width 64, batch {batch}",
                ours,
                other,
                ratio,
                "ms; other: one by one",
            )
        )
    return rows


def data_rows() -> list[Row]:
    """Seconds to draw and render 20,000 scenes of ``shapes``."""

    def render(size: int) -> None:
        shapes.render(shapes.scenes(np.arange(20_000)), size)

    rows = []
    for size in (16, 32):
        seconds = statistics.median(clocked(partial(render, size)) for _ in range(3)) / 1000
        rows.append(Row(f"render 20,000 shapes at {size} px", seconds, None, None, "s"))
    return rows


def command_rows(presets: Sequence[str]) -> list[Row]:
    """Wall seconds and peak memory of whole commands."""
    with tempfile.TemporaryDirectory() as folder:
        commands = [["--help"], ["--dry-run"]] + [
            ["--preset", name, "--out", f"{folder}/{name}"] for name in presets
        ]
        return [command_row(arguments) for arguments in commands]


def command_row(arguments: Sequence[str]) -> Row:
    """One command in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.grid", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise UserError(
            f"'python -m bench.grid {' '.join(arguments)}' ended with exit code {process.returncode}"
        )
    shown = " ".join(a for a in arguments[:2])
    return Row(
        f"bench.grid {shown}", seconds, None, None, f"s; peak memory {usage.ru_maxrss / 2**20:.2f} GiB"
    )


def show(rows: Sequence[Row]) -> None:
    """Print the table."""
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    width = max(len(row.what) for row in rows)
    print(f"{'':{width}}  {'ours':>9} {'other':>9} {'ratio':>6}")
    for row in rows:
        other = f"{row.other:9.2f}" if row.other is not None else " " * 9
        ratio = f"{row.ratio:6.2f}" if row.ratio is not None else " " * 6
        print(f"{row.what:{width}}  {row.ours:9.2f} {other} {ratio}  {row.note}")


def machine() -> dict[str, Any]:
    """Device, versions and commit, without names of hosts or paths."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    return {
        "device": device_name(device()),
        "threads": torch.get_num_threads(),
        **versions(),
        "commit": found.stdout.strip() or "unknown",
    }


if __name__ == "__main__":
    sys.exit(main())
