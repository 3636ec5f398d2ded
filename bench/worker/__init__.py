"""A worker process: trains, samples and measures a pack of cells, stage by stage."""
