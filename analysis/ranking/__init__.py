"""The ranking of formulations, with the uncertainty of every number."""
