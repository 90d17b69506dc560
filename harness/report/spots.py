"""Fewer marks for many points: of those that would cover each other one is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MOST_MARKS = 2000  # of a fit; of more, those at one spot share a mark
_SPOTS = (120, 40)  # across and upwards, about a mark each


def spots(
    ops: npt.NDArray[np.float64], error: npt.NDArray[np.float64], held: npt.NDArray[Any]
) -> npt.NDArray[np.intp]:
    """Return the places of the points to draw, in order, one for each spot.

    Args:
        ops: Shape (n,).
        error: Predicted / measured latency, shape (n,).
        held: Whether a point is held out; the two kinds share no mark. Shape (n,).
    """
    places = np.column_stack([ops, error])
    # A plot of errors spans ±12 % or more.
    ranges = np.maximum(np.ptp(places, axis=0), (1, 0.24))
    across, up = np.rint((places - places.min(axis=0)) / ranges * _SPOTS).T
    _, first = np.unique((across * 1000 + up) * 2 + held, return_index=True)
    return np.sort(first)
