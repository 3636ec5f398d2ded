"""Statistics on arrays and frames, without knowledge of run folders."""
