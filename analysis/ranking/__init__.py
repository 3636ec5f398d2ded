"""The ranking and its uncertainty.

`ranking.rank` makes a `result.RankingResult` of results; `wide`, `blocks`, `uncertainty`, `resolution`, `fixed_draw` and
`per_sample` are its statistics, `pending` finds what it leaves out, and `confirm`, `crossed` and `ideal` are further views.
Writers take the result: `render` makes tables, `notes` the lines under them, `verdict` the answer in a sentence.
"""
