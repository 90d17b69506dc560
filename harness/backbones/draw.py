"""Random numbers that are the same on every machine and for every numpy release.

numpy promises a stable stream for its bit generators and for `SeedSequence`, not for the methods
of `Generator`, and the C library's `exp` and `log` differ between platforms in the last bit. So
everything here is integer arithmetic on raw PCG64 words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_WORD = 1 << 64


def key_of(text: str) -> int:
    """Return a 64-bit number for `text`, to seed with."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


class Draw:
    """A stream of random numbers for the entropy given: non-negative integers."""

    def __init__(self, *entropy: int) -> None:
        import numpy as np

        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))

    def below(self, bound: int) -> int:
        """Return an integer in ``[0, bound)``."""
        return int(self._bits.random_raw()) * bound >> 64

    def between(self, low: int, high: int) -> int:
        """Return an integer in ``[low, high]``."""
        return low + self.below(high - low + 1)

    def choice(self, options: Sequence[T]) -> T:
        """Return one of `options`."""
        return options[self.below(len(options))]

    def uniform(self, count: int) -> NDArray[np.float32]:
        """Return `count` multiples of 2^-24 in ``[0, 1)`` as float32, exact in that type."""
        import numpy as np

        raw = np.asarray(self._bits.random_raw(count), dtype=np.uint64)
        return (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)

    def bytes(self, count: int) -> bytes:
        """Return `count` random bytes."""
        import numpy as np

        raw = np.asarray(self._bits.random_raw(-(-count // 8)), dtype="<u8")
        return raw.tobytes()[:count]


def spread(seed: int, index: int, key: int) -> int:
    """Return term `index` of a low-discrepancy sequence of 64-bit numbers.

    A van der Corput sequence (the bits of `index` reversed), rotated by what `seed` and `key`
    give: the first n terms cover the range evenly for every n, and each term depends on its index
    alone.
    """
    reversed_bits = int(f"{index % _WORD:064b}"[::-1], 2)
    return (reversed_bits + Draw(seed, key).below(_WORD)) % _WORD
