"""The supernet and the search phase, which trains its weights and decisions in turns."""
