"""Slurm: job arrays through submitit, their options, and what the queue says of them."""
