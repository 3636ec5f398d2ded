"""Measures of generated images: extractors, CLIP score, Frechet and kernel distance, and their full names.

The numbers are in `clip_score`, `frechet` and `kid`, the names in `names`.
"""

from bench.encoders.extractors import Extractor, extractor

__all__ = ["Extractor", "extractor"]
