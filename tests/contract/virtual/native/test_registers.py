"""The registers that compiled hooks read are the core's."""

from __future__ import annotations

import ctypes

import pytest
import unicorn
from unicorn import arm_const as arm

from harness.virtual.native import registers


def engine() -> unicorn.Uc:
    found = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    found.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M7)
    return found


def test_registers_are_found_and_keep_their_values() -> None:
    for _ in range(3):  # memory that was used before holds patterns of before
        core = engine()
        core.reg_write(arm.UC_ARM_REG_R4, 44)
        words = (ctypes.c_uint32 * 16).from_address(registers.find_registers(core))
        assert words[4] == core.reg_read(arm.UC_ARM_REG_R4) == 44
        core.reg_write(arm.UC_ARM_REG_LR, 0x0800_0123)
        core.reg_write(arm.UC_ARM_REG_SP, 0x2000_1000)
        assert list(words[13:15]) == [0x2000_1000, 0x0800_0123]


def test_registers_elsewhere_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registers, "_CORE_BYTES", 64)
    assert registers.find_registers(engine()) == 0
