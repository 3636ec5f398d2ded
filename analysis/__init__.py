"""What can be said from a results table: rankings and their uncertainty. Reads files only; imports no torch
and no bench."""

import flowbench  # noqa: F401  (looks whether it can run here)
