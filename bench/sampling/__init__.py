"""Sampling: grids of times, and images from trained members; solvers are in :mod:`bench.solvers`."""
