from __future__ import annotations

import numpy as np

from harness.search.choice.trials import challenge


def right(count: int, of: int = 400) -> np.ndarray:
    return np.arange(of) < count


def test_what_is_known_stays_unless_it_is_clearly_beaten() -> None:
    champion = right(300)
    assert challenge(champion, []) is None
    assert challenge(champion, [right(280), right(300)]) is None
    # Two more of 400 right, but on other inputs: 50 gained and 48 lost are no evidence.
    swapped = champion.copy()
    swapped[300:350], swapped[:48] = True, False
    assert swapped.sum() == 302
    assert challenge(champion, [swapped]) is None
    assert challenge(champion, [right(302)]) == 0  # the same two gained, none lost
    assert challenge(champion, [right(290), right(330), right(310), right(330)]) == 1
