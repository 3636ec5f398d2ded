"""What a user sees of a plan: dry run, progress, status, report. No torch."""
