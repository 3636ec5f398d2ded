"""Where captioned pictures come from; used by :mod:`bench.data.images` only.

``find`` a source cheaply, by names, sizes and times; ``Source.read`` lists its items. One file a form: ``folder``
(captions next to pictures, ``tables``, ``classes``), ``shards`` (WebDataset; ``remote`` behind URLs), ``arrow`` (Hugging
Face). Whatever is wrong with one item is the problem of that item.
"""

from __future__ import annotations

from bench.data.sources.braces import expand_braces
from bench.data.sources.find import Source, check, find
from bench.data.sources.items import Contents, Item, Unreachable, Unreadable, shown

__all__ = [
    "Contents",
    "Item",
    "Source",
    "Unreachable",
    "Unreadable",
    "check",
    "expand_braces",
    "find",
    "shown",
]
