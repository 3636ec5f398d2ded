"""Results: `run.read` opens run folders, archives and tables, and `schema.check` is the door of every table.

`collect` makes the table of a folder's cells, `manifest_reader` reads its plan, `sources` and `cell_contents` what its cells
hold besides numbers; `spreadsheet` and `spellings` read tables of others. `synthetic` writes folders with known truth.
"""
