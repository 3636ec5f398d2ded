"""Trains, generates and measures the cells of one share, in a process of its own (:mod:`bench.worker.begin`).

Its supervisor starts it, and again if it dies (:mod:`bench.launch.supervisor`); its exit code gives how it ends
(:mod:`bench.launch.codes`), and a file why (:func:`bench.runfolder.submission.write_end`).
"""

from __future__ import annotations

import argparse
import os
import traceback
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import formulations
from bench.config.experiment import Cell, Images, Training
from bench.cost import workload
from bench.launch import supervisor
from bench.launch.codes import BROKEN, FAILED, FENCED, HELD, LOST, REFUSED, SAVED, SETTLED, UNFIT, UNWRITABLE
from bench.launch.failure_gate import Gate
from bench.machine.device import DeviceLost, NoDevice, keep_freed_memory, pick_device
from bench.machine.matmul import fast_products
from bench.machine.stage_timer import Stages
from bench.machine.threads import Threads
from bench.models.shape import Shape
from bench.planning import plan
from bench.planning.cells import every_cell
from bench.planning.labels import label, place
from bench.planning.plan import Planned
from bench.runfolder import lease
from bench.runfolder import submission as submissions
from bench.runfolder.cell_folder import fail
from bench.runfolder.failure import Failure
from bench.training import checkpoint, tuning
from bench.training.replicas import Parted
from bench.worker import pack, parents, real_scores, setup
from bench.worker.control import Bench, Control
from bench.worker.heartbeat import Heartbeat
from bench.worker.provenance import check_formulations, check_inputs, check_recipes
from bench.worker.replica_group import Lead
from bench.worker.setup import Setup
from flowbench import STARTED
from flowbench._core import atomic
from flowbench._core.errors import UserError
from flowbench._core.terminal import many


def main(argv: Sequence[str] | None = None) -> int:
    """Run one share; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker.begin")
    parser.add_argument("submission", type=Path)
    parser.add_argument("index", type=int)
    parser.add_argument("token")
    parser.add_argument("--alone", action="store_true", help="one cell in a graph, whatever was asked for")
    args = parser.parse_args(argv)
    stages = Stages(STARTED)

    def ended(code: int, error: BaseException, trace: str = "") -> int:
        submissions.write_end(args.submission, args.index, args.token, Failure.of(error), trace)
        return code

    try:
        submission = submissions.read(args.submission)
        with Heartbeat(lease.Lease(submission, args.index, args.token), stages) as heartbeat:
            return Worker(submission, args.index, heartbeat, stages, args.alone).run()
    except UserError as error:
        unfit = isinstance(error, NoDevice) and "SLURM_JOB_ID" in os.environ
        return ended(UNFIT if unfit else REFUSED, error)
    except OSError as error:
        return ended(UNWRITABLE, atomic.Unwritable.of(error, "a file"))
    except checkpoint.Stopped as stopped:
        say(str(stopped))
        return SAVED
    except lease.Fenced as fenced:
        say(str(fenced))
        return FENCED
    except Parted as parted:
        say(str(parted))
        os._exit(LOST)  # what waits for the other replicas would keep Python from ending
    except DeviceLost as lost:
        say(f"the device is lost: {lost}")
        return LOST
    except Exception as error:  # of no cell: it would come again
        return ended(BROKEN, error, traceback.format_exc())


Source = tuple[str, Images]
"""A dataset, and how its images are made."""


@dataclass(frozen=True)
class Fault:
    """What made a dataset unusable."""

    error: Exception
    failure: Failure
    trace: str


@dataclass(frozen=True)
class Worker:
    """One run of one share."""

    submission: submissions.Submission
    index: int
    heartbeat: Heartbeat
    stages: Stages
    alone: bool

    @property
    def untimed(self) -> bool:
        """Whether steps are not timed before: a cell is alone in its graph, or more than this process holds."""
        return self.alone or self.submission.execution.shards > 1

    def run(self) -> int:
        """Bring every cell to its end; returns the exit code."""
        keep_freed_memory()
        execution, grid = self.submission.execution, self.submission.grid
        with self.heartbeat.may_stop():
            device = pick_device(execution.device)
            tuning.check(execution.compile, device)
            fast_products(device)
            lead = Lead(self.submission, self.index, self.heartbeat.lease.token)
            for file in self.submission.plugin_files:
                formulations.load_plugin(file)
            cells = self.cells()
            check_formulations(grid, cells)
            check_recipes(cells)
            lacking = real_scores.lacking(self.submission.out, grid) if self.index == 0 else []
            needed = dict.fromkeys([*map(source, cells), *((dataset, grid.images) for dataset in lacking)])
            self.heartbeat.note("loading images and captions")
            ready, faults = self.make_ready(needed, device)
            last = {dataset: made for (dataset, images), made in ready.items() if images == grid.images}
            check_inputs(self.submission.out, last, grid.images)
            lent = self.heartbeat.lease
            taken = [p for p in cells if lent.take(p.folder)]
            if len(taken) < len(cells):
                say(f"{many(len(cells) - len(taken), 'cell')} left to the worker that is there already")
            try:
                for p in taken:
                    atomic.sweep(p.folder)
                for p in taken:
                    if fault := faults.get(source(p)):
                        fail(p.folder, fault.failure, fault.trace, grid.evaluation.id)
                groups = self.groups([p for p in taken if source(p) in ready])
                self.heartbeat.note("timing steps")
                threads = Threads(device, say)
                if threads.cores:
                    say(f"{many(threads.usable(), 'thread')} on {threads.cores}")
                chosen = self.tune(groups, ready, device, threads)
                lead.gather({source(p): ready[source(p)] for group in groups for p in group}, device)
            except BaseException:
                self.release()
                raise
        self.stages.started_up()
        try:
            held = self.packs(groups, ready, device, chosen, threads, lead)
            lead.end()
        finally:
            self.release()
        if held:
            submissions.write_end(self.submission.folder, self.index, lent.token, held)
            return HELD
        return FAILED if any(p.state == "failed" for p in self.looked(taken)) else SETTLED

    def make_ready(
        self, sources: Iterable[Source], device: torch.device
    ) -> tuple[dict[Source, Setup], dict[Source, Fault]]:
        """Load every dataset that has something to do, so that a mistake in the last one is not found after hours; and what
        was at fault with those that cannot be used.

        Raises what was at fault if none can be, and it is a mistake of the user's or belongs to no cell.
        """
        out, grid = self.submission.out, self.submission.grid
        ready: dict[Source, Setup] = {}
        faults: dict[Source, Fault] = {}
        for dataset, images in sources:
            say(f"{dataset}: making images and captions ready")
            try:
                made = setup.make(dataset, replace(grid, images=images), device)
                if self.index == 0 and images == grid.images:
                    with self.stages("metrics"):
                        real_scores.save(out, grid, {dataset: made})
            except atomic.Unwritable:
                raise
            except Exception as error:
                faults[dataset, images] = fault = Fault(error, Failure.of(error), traceback.format_exc())
                say(f"{dataset}: cannot be used: {fault.failure.message}")
                continue
            ready[dataset, images] = made
            for line in made.remarks():
                say(f"{dataset}: {line}")
        share = self.submission.shares[self.index].cells
        if (
            faults
            and not ready
            and (not share or all(isinstance(f.error, UserError) for f in faults.values()))
        ):
            raise next(iter(faults.values())).error
        return ready, faults

    def cells(self) -> list[Planned]:
        """The share's cells that are not finished."""
        share = set(self.submission.shares[self.index].cells)
        grid = self.submission.grid
        look = plan.StateReader(self.submission.out, grid)
        found = [look(cell) for cell in every_cell(grid) if cell.id in share]
        for p in found:
            if p.damage:
                say(f"{label(p.cell, grid)} is run again: {p.damage}")
        return [p for p in found if p.state not in plan.ENDED]

    def looked(self, cells: Sequence[Planned]) -> list[Planned]:
        """The cells as they are now."""
        look = plan.StateReader(self.submission.out, self.submission.grid)
        return [look(p.cell) for p in cells]

    def release(self) -> None:
        """Give the share's cells back; also those that an earlier worker of it had when it was killed."""
        for cell in self.submission.shares[self.index].cells:
            self.heartbeat.lease.release(self.submission.out / "cells" / cell)

    def groups(self, cells: Sequence[Planned]) -> list[tuple[Planned, ...]]:
        """Cells that can share a graph; those that began together stay together."""
        return plan.together(plan.Plan(self.submission.grid, self.submission.out, tuple(cells)).groups())

    def tune(
        self,
        groups: Sequence[Sequence[Planned]],
        ready: Mapping[Source, Setup],
        device: Any,
        threads: Threads,
    ) -> list[tuning.Tuning]:
        """How to train each group, by measuring steps of each shape; those that only lack measuring go as they are."""
        execution = self.submission.execution
        kinds: dict[Shape, list[Sequence[Planned]]] = {}
        for group in groups:
            if group[0].state != "trained" and not self.untimed:
                kinds.setdefault(shape_of(group[0].cell, ready), []).append(group)
        chosen: dict[Shape, tuning.Tuning] = {}
        for shape, alike in kinds.items():
            cells = [group[0].cell for group in alike]
            longest = max((cell.training for cell in cells), key=lambda training: training.steps)
            sizes = [(len(group), cell.training.steps) for group, cell in zip(alike, cells, strict=True)]
            with self.stages("compile"):
                threads.begin(threads.most)
                chosen[shape] = tuning.choose(
                    shape,
                    part_of(longest, execution),
                    device,
                    sizes,
                    execution.pack,
                    execution.compile,
                    threads.auto,
                    execution.accumulate,
                    execution.recompute == "blocks",
                )
            which = f"{cells[0].dataset}, {shape.architecture}, depth {shape.depth}: " * (len(kinds) > 1)
            for sentence in chosen[shape].said:
                say(which + sentence)
        return [
            chosen[shape_of(group[0].cell, ready)]
            if group[0].state != "trained" and not self.untimed
            else tuning.Tuning(1 if self.alone else execution.pack or len(group), False, threads.most, ())
            for group in groups
        ]

    def packs(
        self,
        groups: Sequence[tuple[Planned, ...]],
        ready: Mapping[Source, Setup],
        device: Any,
        chosen: Sequence[tuning.Tuning],
        threads: Threads,
        lead: Lead,
    ) -> Failure | None:
        """Run pack after pack; returns why cells were held back, if any were."""
        gate, held, grid = Gate(self.submission), 0, self.submission.grid
        control = Control(
            stop=self.heartbeat.stop,
            guard=self.heartbeat.lease.guard,
            say=say,
            failed=lambda cell, cause: supervisor.failed(self.submission, cell, cause),
            holds=gate.holds,
            checkpoint=self.submission.execution.checkpoint,
            code=self.submission.code,
            track=self.submission.execution.track,
            threads=threads.as_before,
            cores=threads.facts,
        )

        def watch(stage: str, text: str, share: float, count: int = 0, unit: str = "") -> None:
            self.heartbeat.report(stage, text, share, count, unit, threads.count())
            threads.look()

        todo = [
            (part, how)
            for group, how in zip(groups, chosen, strict=True)
            for part in plan.even(group, how.pack)
        ]
        workloads = workload.of_packs([part for part, _ in todo], grid)
        for i, (cells, how) in enumerate(todo):
            execution = self.submission.execution
            parted = execution.accumulate, execution.recompute == "blocks"
            bench = Bench(
                device, watch, self.stages, how.compiled, control, *parted, lead.pack, execution.probes
            )
            free = [p for p in cells if not gate.holds(p.cell)]
            held += len(cells) - len(free)
            free = parents.trained(free, grid, control)
            while free:
                first = free[0].cell
                where = place(first, grid)
                say(f"pack {i + 1} of {len(todo)}: {where}, {many(len(free), 'formulation')} on {device}")
                there = max(checkpoint.common_steps([p.folder for p in free]), default=0)
                ids = [p.cell.id for p in free]
                self.heartbeat.begin(i, workloads, ids, there / first.training.steps)
                threads.begin(how.threads)
                try:
                    pack.run(free, ready[source(free[0])], grid.evaluation, bench)
                    self.compare(free, how, ready, device)
                    break
                except lease.Taken as taken:  # the others go on
                    lost = next(p for p in free if p.folder == taken.folder)
                    say(f"{label(lost.cell, grid)}: {taken}")
                    free = [p for p in free if p.folder != taken.folder]
        return Failure("Held", gate.reason, gate.cause) if held else None

    def compare(
        self, cells: Sequence[Planned], how: tuning.Tuning, ready: Mapping[Source, Setup], device: Any
    ) -> None:
        """Compare what a training took with what had been measured of its steps, and forget that if they disagree."""
        cell = cells[0].cell
        if self.untimed or cells[0].state == "trained" or cell.training.steps < tuning.FEW:
            return
        with suppress(atomic.Damaged, KeyError, TypeError):  # it diverged at once, or failed
            kept = atomic.read_object(cells[0].folder / "status.json")["training"]
            took, together = float(kept["seconds"]) / cell.training.steps, kept["pack"]
            if kept["threads"] == how.threads and together == len(cells):
                torch.set_num_threads(how.threads)
                execution = self.submission.execution
                parted = execution.accumulate, execution.recompute == "blocks"
                part = part_of(cell.training, execution)
                tuner = tuning.Tuner(shape_of(cell, ready), part, device, *parted)
                if said := tuner.doubt(together, how.compiled, took):
                    say(said)


def source(p: Planned) -> Source:
    """What a cell is trained on."""
    return p.cell.dataset, p.cell.images


def shape_of(cell: Cell, ready: Mapping[Source, Setup]) -> Shape:
    """The network of a cell."""
    return ready[cell.dataset, cell.images].shape(cell.model)


def part_of(training: Training, execution: submissions.Execution) -> Training:
    """What one of the replicas computes of a training: steps are timed by it."""
    return replace(training, batch=training.batch // execution.replicas)


def say(text: str) -> None:
    """A line in the share's log. A log that cannot be written stops nothing."""
    with suppress(OSError):
        print(text, flush=True)
