"""Find where Unicorn keeps the core's registers.

`uc_reg_read` costs more than most basic blocks. The layout of Unicorn's state is not published, so
the registers are found by what was written to them, in memory that the engine points to.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from typing import Any

from unicorn import arm_const as arm

_GENERAL = (
    *(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13)),
    arm.UC_ARM_REG_SP,
    arm.UC_ARM_REG_LR,
)
_ENGINE_BYTES = 0x4000  # the engine's own structure, which points to the core's
_CORE_BYTES = 0x20000
_LARGEST = 1 << 47


def find_registers(engine: Any) -> int:
    """Return the host address of r0, which r1 to r15 follow as 32-bit words; 0 if not found."""
    before = [engine.reg_read(register) for register in _GENERAL]
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        return 0
    try:
        first = _write(engine, seed=1)
        found = {at for start in _pointers(memory, engine) for at in _find(memory, start, first)}
        # Python's copies of the pattern may be among them: the registers are what changes.
        second = _write(engine, seed=2)
        found = {at for at in found if _holds(memory, at, second)}
    finally:
        os.close(memory)
        for register, value in zip(_GENERAL, before, strict=True):
            engine.reg_write(register, value)
    return found.pop() if len(found) == 1 else 0


def _write(engine: Any, *, seed: int) -> bytes:
    """Write a pattern to the registers and return it; the stack pointer has no low bits."""
    values = [random.Random(seed * 100 + n).getrandbits(32) & ~3 for n in range(len(_GENERAL))]
    for register, value in zip(_GENERAL, values, strict=True):
        engine.reg_write(register, value)
    return struct.pack(f"<{len(values)}I", *values)


def _pointers(memory: int, engine: Any) -> list[int]:
    """Return what may be a pointer in the engine's structure."""
    handle = engine._uch
    content = _read(memory, int(getattr(handle, "value", handle)), _ENGINE_BYTES)
    words = struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8])
    return sorted({word for word in words if word % 8 == 0 and 0x1000 < word < _LARGEST})


def _find(memory: int, start: int, pattern: bytes) -> Iterator[int]:
    """Find the addresses of a pattern behind `start`."""
    content = _read(memory, start, _CORE_BYTES)
    at = content.find(pattern)
    while at >= 0:
        yield start + at
        at = content.find(pattern, at + 1)


def _holds(memory: int, address: int, pattern: bytes) -> bool:
    content = bytearray(len(pattern))  # not new bytes, which may be where old ones with it were
    return os.preadv(memory, [content], address) == len(content) and content == pattern


def _read(memory: int, address: int, count: int) -> bytes:
    """Return up to `count` bytes, fewer where the memory ends."""
    try:
        return os.pread(memory, count, address)
    except OSError:
        return b""
