"""Command-line options, made from the dataclasses of `bench.config`. No torch."""
