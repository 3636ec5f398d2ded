"""From a grid to its cells: the plan, its file, confirmations, and how cells are divided among workers. No torch."""
