"""Choose one network: derivation, baselines, trials, and what to measure near the optimum."""
