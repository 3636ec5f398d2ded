"""Frozen networks of others: where their weights are, what identifies them; autoencoders. For data and encoders."""
