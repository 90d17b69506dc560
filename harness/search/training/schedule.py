"""Learning rates by step."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, peak: float, warmup: int = 0, final: float = 0.0) -> float:
    """Return the learning rate of `step`: a linear rise to `peak`, then half a cosine.

    Loshchilov and Hutter 2017, "SGDR", without restarts.

    Args:
        step: From 0.
        steps: Of the whole training.
        peak: Highest learning rate, met at the end of the warm-up.
        warmup: Steps of the rise.
        final: Learning rate that the cosine ends at.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * share))
