"""Tables to be shown: `table.Table`, written by `output` as text (`layout`), Markdown and LaTeX (`markup`), CSV and JSON."""
