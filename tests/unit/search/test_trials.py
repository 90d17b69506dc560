from __future__ import annotations

import numpy as np

from harness.search.choice.trials import challenge, rounds


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


def test_each_round_keeps_the_better_half_and_trains_it_twice_as_long() -> None:
    assert rounds(4, 6) == ((4, 3), (2, 6))
    assert rounds(8, 20) == ((8, 5), (4, 10), (2, 20))
    assert rounds(5, 3) == ((5, 1), (3, 3))
    assert rounds(4, 1) == ((4, 1),)
    assert rounds(2, 6) == ((2, 6),)
    assert rounds(1, 6) == ((1, 6),)
