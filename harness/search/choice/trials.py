"""Choose among networks that were each trained for a few epochs, on the validation split alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LAST = 2  # networks that are not halved any more


def rounds(networks: int, epochs: int) -> tuple[tuple[int, int], ...]:
    """Return how many networks each round of trials has, and for how many epochs each is trained.

    Successive halving (Jamieson and Talwalkar 2016): the better half goes on and is trained for
    twice as long, from the start, until two are left or the first round has one epoch. The last
    round has `epochs`.
    """
    counts = [networks]
    while counts[-1] > _LAST and epochs >> len(counts):
        counts.append(max(_LAST, math.ceil(counts[-1] / 2)))
    return tuple(
        (count, epochs >> (len(counts) - place)) for place, count in enumerate(counts, start=1)
    )


def challenge(champion: NDArray[np.bool_], challengers: Sequence[NDArray[np.bool_]]) -> int | None:
    """Return the best challenger's place if it clearly beats the champion, else None.

    Clearly: by more than one standard error of the difference on the same inputs (the rule of one
    standard error: Breiman et al. 1984, section 3.4.3; paired, as in McNemar's test). With few
    inputs the best of several is mostly the luckiest. Arrays of shape (n,) say which inputs each
    network has right.
    """
    if not challengers:
        return None
    place = max(range(len(challengers)), key=lambda index: challengers[index].mean())
    difference = challengers[place].astype(float) - champion
    error = float(difference.std()) / math.sqrt(len(difference))
    return place if float(difference.mean()) > error else None
