"""Results: `run.read` opens run folders, archives and tables, and `schema.check` is the door of every table.

`collect` makes the table of a folder's cells, `sources` and `cell_contents` read what they hold besides numbers,
`recipe_fields` and `training_stages` how they were trained; `spreadsheet` and `spellings` read tables of others. `synthetic`
writes folders with known truth.
"""
