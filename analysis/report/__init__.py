"""``python -m analysis.report DIR``: a run as one HTML file that needs nothing but a browser."""
