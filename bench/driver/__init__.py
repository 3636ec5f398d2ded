"""Drives a plan: dry run, hand out, wait, seed after seed, race, confirm, and report."""
