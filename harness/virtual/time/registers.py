"""Find where Unicorn keeps the core's registers, for compiled hooks to read them.

Unicorn's own `uc_reg_read` costs more than a basic block. Its state has no published layout, so the
registers are found by what was written to them.
"""

from __future__ import annotations

import os
import random
import struct
from typing import Any

from unicorn import arm_const as arm

from harness.errors import VirtualError

_GENERAL = tuple(getattr(arm, f"UC_ARM_REG_R{n}") for n in range(13))
_ENGINE_BYTES = 0x4000  # the engine's own structure, which points to the core's
_CORE_BYTES = 0x20000
_LARGEST = 1 << 47
_PROBE = 0x5EED_0001


def find_registers(engine: Any) -> int:
    """Return the host address of r0, which r1 to r15 follow as 32-bit words.

    Raises:
        VirtualError: They are not found (another Unicorn, or a system without /proc).
    """
    before = [engine.reg_read(register) for register in _GENERAL]
    pattern = random.Random(0).randbytes(4 * len(_GENERAL))
    found: set[int] = set()
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError as missing:
        raise _not_found(str(missing)) from None
    try:
        for register, value in zip(_GENERAL, struct.unpack("<13I", pattern), strict=True):
            engine.reg_write(register, value)
        for pointer in _pointers(memory, engine):
            content = _read(memory, pointer, _CORE_BYTES)
            offset = content.find(pattern)
            while offset >= 0:
                found.add(pointer + offset)
                offset = content.find(pattern, offset + 1)
        # The pattern itself lies somewhere too: the registers are what follows a change.
        engine.reg_write(_GENERAL[0], _PROBE)
        found = {at for at in found if _read(memory, at, 4) == struct.pack("<I", _PROBE)}
    finally:
        os.close(memory)
        for register, value in zip(_GENERAL, before, strict=True):
            engine.reg_write(register, value)
    if len(found) != 1:
        raise _not_found(f"{len(found)} places look like them")
    return found.pop()


def _pointers(memory: int, engine: Any) -> list[int]:
    """Return what may be a pointer in the engine's structure."""
    handle = engine._uch
    start = int(handle if isinstance(handle, int) else handle.value)
    content = _read(memory, start, _ENGINE_BYTES)
    words = struct.unpack(f"<{len(content) // 8}Q", content[: len(content) // 8 * 8])
    return sorted({word for word in words if word % 8 == 0 and 0x1000 < word < _LARGEST})


def _read(memory: int, address: int, count: int) -> bytes:
    """Return up to `count` bytes, fewer where the memory ends."""
    try:
        return os.pread(memory, count, address)
    except OSError:
        return b""


def _not_found(why: str) -> VirtualError:
    return VirtualError(
        f"the emulator's registers cannot be found: {why}",
        expected="Unicorn 2.1 on Linux",
        fix="use a timing model without memory: HARNESS_TIMING=issue",
    )
