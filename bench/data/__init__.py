"""Captioned images to learn: one file a dataset, in a registry that plugins add to.

`dataset` is the contract of a loaded dataset, `builder` that of one before it is loaded, with the registry and
:func:`load`; `held_out` divides items into two sides; `check_dataset` is what every dataset must pass. `shapes` (drawn by
`sdf`) and `digits` need no files; `images` reads a user's own from the forms in `sources`, without those of a `drop_list`,
which `near_duplicates` makes; `encoded` reads latents of any of them from a `latent_store`, which `encoding` writes.
Importing registers the names; it needs no torch.
"""

from bench.data import digits, encoded, images, shapes  # noqa: F401
from bench.data.builder import Builder, canonical, get, load, register, registry
from bench.data.check_dataset import check
from bench.data.dataset import Dataset, Picked, Rows, Scale, Split, build
from bench.data.held_out import hash_split

__all__ = [
    "Builder",
    "Dataset",
    "Picked",
    "Rows",
    "Scale",
    "Split",
    "build",
    "canonical",
    "get",
    "hash_split",
    "load",
    "register",
    "registry",
]

registry.check = check
