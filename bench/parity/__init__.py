"""The parity table: our metrics and those of other libraries on the same images and weights, and why values differ.

`inception_peers` extracts features, `peer_metrics` computes distances of features, both as each library does.
"""
