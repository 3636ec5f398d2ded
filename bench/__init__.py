"""The experiment: config, plan, launch, worker, train, generate, measure, report."""

import time

import flowbench  # noqa: F401  (looks whether it can run here)

STARTED = time.perf_counter()
"""When this process began, before anything heavy was imported: for the timings."""
