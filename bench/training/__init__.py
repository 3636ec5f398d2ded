"""The training loop and its parts: batches, coefficients, checkpoints, CUDA graphs, tuning."""
