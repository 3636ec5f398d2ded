"""The numbers that arXiv 2403.03206 published, and our order of formulations next to its own."""
