"""The networks that come with the project, in torch: a file of blocks each, and what they share.

`layers` carry the member axis, `transformer` has what tokens pass in a block and the ends of networks, `embeddings` what has
no parameters there; `attention_probe` watches attention, `sd3_weights` renames an MM-DiT's parameters. The architectures of
:mod:`bench.models` build them.
"""
