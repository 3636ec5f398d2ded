"""The run folder: its layout, whole files, cells, locks, and what was submitted. No torch."""
