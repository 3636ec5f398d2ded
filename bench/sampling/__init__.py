"""Sampling: solvers, and images from trained members."""
