"""Does the search win? Search and baselines on a task's real data, seed by seed."""
