"""Comparisons with a baseline, and races, that hold at every look."""
