"""What ``python -m bench.encode`` writes into a `bench.data.latent_store`, and from where; called by that command, but for
the division of its work into parts, which :mod:`bench.encoders.caption_store` shares.

`write_latents` has the contract of an origin of latents, and writes shards of one. `from_images` encodes a dataset,
`from_latents` converts what others have encoded: `find_latents` chooses the reader by the form of the source, each reader is
a file (`edm2`, `lightningdit`, `mds`) that makes a `latent_source`.
"""
