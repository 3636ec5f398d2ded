"""Networks: MM-DiT with a leading member axis, its size and counts, and parameters as one matrix."""
