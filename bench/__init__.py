"""The experiment: config, plan, launch, worker, train, generate, measure, report."""

import flowbench  # noqa: F401  (looks whether it can run here)
