"""Train one network: options, steps, checkpoints; then quantise and evaluate it."""
