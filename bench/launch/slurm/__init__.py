"""Slurm: job arrays through submitit, their options, and their states in the queue."""
