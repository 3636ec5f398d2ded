"""Results of a run: reading, collecting and checking them."""
