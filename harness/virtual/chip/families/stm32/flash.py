"""What flash interfaces of STM32s have in common: keys and locks, status and control register."""

from __future__ import annotations

from abc import abstractmethod

from harness.virtual.chip.bus import BusFault, Master, read_zero
from harness.virtual.chip.connections import Connections
from harness.virtual.chip.peripherals.flash import FlashInterface

ACR = 0x00
LOCK = 1 << 31
KEYS = (0x4567_0123, 0xCDEF_89AB)
_OPTION_KEYS = (0x0819_2A3B, 0x4C5D_6E7F)
_EOP, _STRT, _EOPIE = 1 << 0, 1 << 16, 1 << 24


class KeyedFlash(FlashInterface):
    """Base of a family's flash interface."""

    def __init__(self, to: Connections, base: int, source: str) -> None:
        super().__init__(to, base, source)
        self.cr = LOCK
        self._key_step = self._option_step = 0
        self._keys_blocked = False

    def add_control(self, sr: int, cr: int, *, clearable: int) -> None:
        """Add SR, of which writing a one clears the bits in `clearable`, and CR."""

        def clear(value: int, _master: Master) -> None:
            self.sr &= ~(value & clearable)

        self.add(sr, "SR", read=self.read_sr, write=clear)
        self.add(cr, "CR", read=lambda _master: self.cr, write=self._write_cr)

    def add_keys(self, key: int, option_key: int) -> None:
        """Add the key registers at these offsets."""
        self.add(key, "KEYR", read=read_zero, write=self._write_key)
        self.add(option_key, "OPTKEYR", read=read_zero, write=self._write_option_key)

    @property
    def wait_states(self) -> int:
        """ACR.LATENCY."""
        return self.values[ACR] & 0xF

    def reset(self) -> None:
        """Lock the controller; the array keeps its content."""
        super().reset()
        self.sr, self.cr = 0, LOCK
        self._key_step = self._option_step = 0
        self._keys_blocked = False

    def read_sr(self, _master: Master) -> int:
        """Return SR."""
        return self.sr

    def _write_cr(self, value: int, _master: Master) -> None:
        if self.cr & LOCK:
            return  # RM0385 3.7.5: CR takes nothing while it is locked
        self.cr = self.accept_cr(value)
        if value & LOCK:
            self.locked()
        if value & _STRT:
            self.start_erase(value)
            self.cr &= ~_STRT

    @abstractmethod
    def accept_cr(self, value: int) -> int:
        """Prepare for a new value of CR; return what CR then reads as."""

    @abstractmethod
    def start_erase(self, cr: int) -> None:
        """Erase what CR selects, or set an error flag."""

    @abstractmethod
    def unlock_options(self) -> None:
        """Let option bytes be written: both keys came in their order."""

    # Keys.

    def _write_key(self, value: int, _master: Master) -> None:
        if not self.cr & LOCK and not self._keys_blocked:
            return
        if self._keys_blocked or value != KEYS[self._key_step]:
            # RM0385 3.3.5: a wrong key locks CR until the next reset and gives a bus error.
            self._keys_blocked = True
            raise BusFault
        self._key_step += 1
        if self._key_step == len(KEYS):
            self._key_step = 0
            self.cr &= ~LOCK

    def _write_option_key(self, value: int, _master: Master) -> None:
        if value != _OPTION_KEYS[self._option_step]:
            self._option_step = 0
            raise BusFault
        self._option_step = (self._option_step + 1) % len(_OPTION_KEYS)
        if self._option_step == 0:
            self.unlock_options()

    def done(self) -> None:
        """End an operation. RM0385 3.7.4: EOP is only set when its interrupt is enabled."""
        if self.cr & _EOPIE:
            self.sr |= _EOP
