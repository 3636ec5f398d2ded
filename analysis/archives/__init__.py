"""Archives of a run, and submissions to the leaderboard."""
