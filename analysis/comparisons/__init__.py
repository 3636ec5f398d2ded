"""Formulations against a baseline and races of all, valid at every look: `paired` differences, `baseline` and its verdicts,
`race` of a run; `comparison` and `pair_rows` write tables, `decided` and `race` sentences.
"""
