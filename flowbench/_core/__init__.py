"""What every package stands on: errors, names and registries, plugins, lazy imports, text, command lines. No torch."""
