"""Frozen networks of others: where their weights are, what identifies them; autoencoders and detectors. For data,
encoders and metrics."""
