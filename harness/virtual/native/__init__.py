"""Compiled callbacks of the emulator: what is called for every basic block, register or byte.

As Python functions they would cost a factor of ten in speed, and each call would wait for the
interpreter lock whenever another thread computes. They are numba cfuncs, registered by address;
anything but the everyday case they hand to the Python model. A callback gets one pointer: to a
record of a NumPy dtype that Python reads and writes by the same names (`shared`).

`hooks` is called for every block; `blocks`, `caches`, `watch` and `plan` are what it works on, and
none needs the emulator or a compiler (`.py_func`). `flash` and `console` are called for registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

inlined = njit(inline="always")
called = njit  # for what is rare: inlined, it would take registers from what is not


def shared(kind: Any) -> Any:
    """Return a zeroed record of dtype `kind` for Python (``[0]["field"]``) and compiled code.

    The memory is `.ctypes.data`, and lives as long as what is returned.
    """
    return np.zeros(1, kind)
