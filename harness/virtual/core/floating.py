"""Stop the core at floating-point instructions that the chip would not execute.

Unicorn's M-profile cores execute them whatever CPACR says, do not save state lazily, and its
Cortex-M7 always has double precision. While one of these matters, each newly translated block is
searched for such instructions, and each gets a hook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from unicorn import unicorn_const as uc

_PAGE = 1 << 10  # no block is longer


class FloatTraps:
    """Hooks on floating-point instructions.

    `stop` stops the core before its next block; `hit` is called at a trapped instruction with
    whether it is in double precision.
    """

    def __init__(
        self,
        engine: Any,
        read_code: Callable[[int, int], bytes | None],
        stop: Callable[[], None],
        hit: Callable[[bool], None],
    ) -> None:
        self._engine = engine
        self._read_code = read_code
        self._stop = stop
        self._hit = hit
        self._singles = self._doubles = False
        self._watch: int | None = None
        self._hooks: dict[int, int] = {}
        self._found: dict[int, bool] = {}
        self._searched: set[int] = set()

    def apply(self, pc: int, *, singles: bool, doubles: bool) -> None:
        """Trap instructions from now on; the core stands still at `pc`, where it goes on.

        Args:
            pc: Program counter.
            singles: Trap everything that uses the floating-point registers.
            doubles: Trap arithmetic in double precision.
        """
        if (singles, doubles) != (self._singles, self._doubles):
            self._singles, self._doubles = singles, doubles
            self._start_over()
        if self._watch is not None and pc not in self._searched:
            self._searched.add(pc)
            self._search(pc, _PAGE - pc % _PAGE)  # Unicorn may not report the first block
        for address, double in self._found.items():
            self._hooks[address] = self._engine.hook_add(
                uc.UC_HOOK_CODE, self._on_code, double, address, address
            )
            self._engine.ctl_remove_cache(address, address + 2)
        self._found.clear()

    def forget(self, start: int = 0, end: int = 1 << 32) -> None:
        """Drop the hooks where code changes: what is translated again is searched again."""
        for address in [address for address in self._hooks if start <= address < end]:
            self._engine.hook_del(self._hooks.pop(address))
        self._found = {at: double for at, double in self._found.items() if not start <= at < end}
        self._searched = {at for at in self._searched if not start <= at < end}

    def _start_over(self) -> None:
        self.forget()
        wanted = self._singles or self._doubles
        if wanted and self._watch is None:
            self._watch = self._engine.hook_add(uc.UC_HOOK_EDGE_GENERATED, self._on_block)
        elif not wanted and self._watch is not None:
            self._engine.hook_del(self._watch)
            self._watch = None
        self._engine.ctl_flush_tb()

    def _search(self, start: int, size: int) -> None:
        for address, word in _wide_instructions(start, self._read_code(start, size) or b""):
            if address in self._hooks or word & 0xEC00_0E00 != 0xEC00_0A00:
                continue
            double = _is_double(word)
            if self._singles or double:
                self._found[address] = double

    def _on_block(self, _engine: Any, block: Any, _before: Any, _data: Any) -> None:
        self._search(block.pc, block.size)
        if self._found:
            self._stop()

    def _on_code(self, _engine: Any, _address: int, _size: int, double: bool) -> None:
        self._hit(double)


def _wide_instructions(start: int, code: bytes) -> Iterator[tuple[int, int]]:
    """Return address and word of each 32-bit instruction."""
    at = 0
    while at + 4 <= len(code):
        first = code[at] | code[at + 1] << 8
        if first >> 11 < 0b11101:
            at += 2
            continue
        yield start + at, first << 16 | code[at + 3] << 8 | code[at + 2]
        at += 4


def _is_double(word: int) -> bool:
    """Return whether a floating-point instruction computes in double precision.

    ARMv7-M ARM A6.4 to A6.7: sz (bit 8) in data processing, and VCVT.F64.F32 beside it. Loads,
    stores and moves of double registers are in every FPU.
    """
    if word & 0xEF00_0010 != 0xEE00_0000:
        return False
    return bool(word & 1 << 8) or word & 0xFFBF_0ED0 == 0xEEB7_0AC0
