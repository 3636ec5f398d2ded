"""The experiment: config, plan, launch, worker, train, generate, measure, report."""

import time

STARTED = time.perf_counter()
"""When this process began, before anything heavy was imported: for the timings."""
