"""What an experiment is: frozen dataclasses with their limits and presets, and the seeds derived from them. No torch."""
