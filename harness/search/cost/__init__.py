"""What networks cost on a board: counts, predictions from a fit, budgets."""
