"""What pyOCD's flash algorithms leave to be desired on these chips, as drivers over them."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from harness.boards import Board

_KEYS = (0x4567_0123, 0xCDEF_89AB)
_OPTION_KEYS = (0x0819_2A3B, 0x4C5D_6E7F)
_EMPTY_WORD = 0xFFFF_FFFF

# FLASH of the STM32F4 and F7 (RM0385 3.7, RM0390 3.8).
_F_SR, _F_CR = 0x4002_3C0C, 0x4002_3C10
_F_SER, _F_STRT, _F_BSY, _F_ERRORS = 1 << 1, 1 << 16, 1 << 16, 0xF0
_F_PSIZE_X32 = 2 << 8
_ERASE_S = 10.0  # no sector takes longer than 4 s by any data sheet

# FLASH of the STM32H743 (RM0433, FLASH registers); those of bank 2 are 0x100 higher.
_H_CR, _H_SR, _H_CCR, _H_BANK = 0x5200_200C, 0x5200_2010, 0x5200_2014, 0x100
_H_LOCK, _H_SER, _H_PSIZE_X64, _H_START = 1 << 0, 1 << 2, 3 << 4, 1 << 7
_H_BSY, _H_QW, _H_FLAGS, _H_ERRORS = 1 << 0, 1 << 2, 0x1FEF_0000, 0x07EE_0000

# FLASH of the STM32L4+ (RM0432, FLASH registers).
_L_KEYR, _L_OPTKEYR, _L_SR, _L_CR = 0x4002_2008, 0x4002_200C, 0x4002_2010, 0x4002_2014
_L_PEMPTY, _L_OBL_LAUNCH = 1 << 17, 1 << 27


def erasing_by_words(board: Board) -> type[Any]:
    """Return a driver for the STM32F4 and F7 that erases at the parallelism of 32 bits.

    The algorithm erases with PSIZE 0, which is for a supply down to 1.7 V and takes twice as long;
    programming is by words already. These boards run at 3.3 V (RM0385 table 9: x32 from 2.7 V).
    """
    from pyocd.core.exceptions import FlashEraseFailure
    from pyocd.flash.flash import Flash

    numbers = {address: number for number, (address, _) in enumerate(board.sectors())}

    class ErasingByWords(Flash):
        def erase_sector(self, address: int) -> None:
            # The algorithm's Init has unlocked CR.
            target, control = self.target, _F_SER | numbers[address] << 3 | _F_PSIZE_X32
            target.write32(_F_SR, _F_ERRORS)
            target.write32(_F_CR, control)
            target.write32(_F_CR, control | _F_STRT)
            deadline = time.monotonic() + _ERASE_S
            while (status := target.read32(_F_SR)) & _F_BSY:
                if time.monotonic() > deadline:
                    raise FlashEraseFailure("erasing a sector timed out", address=address)
            target.write32(_F_CR, 0)
            if status & _F_ERRORS:
                raise FlashEraseFailure(
                    f"erasing a sector failed (FLASH_SR = 0x{status:08X})",
                    address=address,
                    result_code=status,
                )

    return ErasingByWords


def for_two_banks(board: Board) -> type[Any]:
    """Return a driver for the STM32H743 that erases one sector, and locks both banks at the end.

    pyOCD's algorithm erases the sector behind too, and does neither look for errors nor lock
    (RM0433, FLASH registers).
    """
    from pyocd.core.exceptions import FlashEraseFailure
    from pyocd.flash.flash import Flash

    half = len(tuple(board.sectors())) // 2
    places = {address: divmod(number, half) for number, (address, _) in enumerate(board.sectors())}

    class TwoBanks(Flash):
        def erase_sector(self, address: int) -> None:
            # The algorithm's Init has unlocked CR.
            target, (bank, number) = self.target, places[address]
            control, status, clear = (at + _H_BANK * bank for at in (_H_CR, _H_SR, _H_CCR))
            target.write32(clear, _H_FLAGS)
            target.write32(control, _H_SER | _H_PSIZE_X64 | number << 8)
            target.write32(control, _H_SER | _H_PSIZE_X64 | number << 8 | _H_START)
            deadline = time.monotonic() + _ERASE_S
            while (found := target.read32(status)) & (_H_BSY | _H_QW):
                if time.monotonic() > deadline:
                    raise FlashEraseFailure("erasing a sector timed out", address=address)
            target.write32(control, _H_PSIZE_X64)
            if found & _H_ERRORS:
                raise FlashEraseFailure(
                    f"erasing a sector failed (FLASH_SR{bank + 1} = 0x{found:08X})",
                    address=address,
                    result_code=found,
                )

        def cleanup(self) -> None:
            super().cleanup()
            for bank in range(2):
                self.target.write32(_H_CR + _H_BANK * bank, _H_LOCK)

    return TwoBanks


def for_large_pages(board: Board) -> type[Any]:
    """Return a driver of the STM32L475's algorithm for the STM32L4+.

    Its pages have 4 KiB instead of 2. The algorithm erases page ``(address >> 11) & 0x3FF``, whose
    bit 8 selects the bank (BKER). Half the offset gives the STM32L4+'s page number and bank
    (RM0432, FLASH_CR, two banks).

    And a chip that was empty when it was powered on enters the boot loader in its ROM at every
    reset, until FLASH_SR.PEMPTY is cleared (RM0432, FLASH_SR and boot configuration;
    stlink-org/stlink#1482, stm32duino/Arduino_Core_STM32#1495).
    """
    from pyocd.flash.flash import Flash

    origin = board.flash.origin

    class LargePages(Flash):
        def erase_sector(self, address: int) -> None:
            super().erase_sector(origin + (address - origin) // 2)

        def cleanup(self) -> None:
            super().cleanup()
            _no_longer_empty(self.target, origin)

    return LargePages


def _no_longer_empty(target: Any, origin: int) -> None:
    """Clear PEMPTY once there is a program; it is toggled by writing one to it."""
    if not target.read32(_L_SR) & _L_PEMPTY or target.read32(origin) == _EMPTY_WORD:
        return
    target.write32(_L_SR, _L_PEMPTY)
    if not target.read32(_L_SR) & _L_PEMPTY:
        return
    # Loading the option bytes again is what sets it; that resets the chip.
    from pyocd.core.exceptions import TransferError

    for register, keys in ((_L_KEYR, _KEYS), (_L_OPTKEYR, _OPTION_KEYS)):
        for key in keys:
            target.write32(register, key)
    with suppress(TransferError):  # the chip may be gone before it answers
        target.write32(_L_CR, _L_OBL_LAUNCH)
    time.sleep(0.01)
    target.reset_and_halt()
