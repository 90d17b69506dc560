"""pyOCD debug probe of a virtual board.

Importing this module needs pyOCD only; the emulator starts when a probe is opened.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pyocd.board.board_ids import BoardInfo
from pyocd.core import exceptions
from pyocd.core.memory_interface import MemoryInterface
from pyocd.probe.aggregator import PROBE_CLASSES
from pyocd.probe.debug_probe import DebugProbe

from harness.boards import Board, all_boards
from harness.errors import VirtualError

if TYPE_CHECKING:
    from harness.virtual.machine import VirtualMachine
    from harness.virtual.ports.access_port import DebugAccess

PREFIX = "virtual:"
_Value = TypeVar("_Value")


class VirtualProbeError(VirtualError, exceptions.ProbeError):
    """What stopped the virtual board, in a form that pyOCD passes on, to a remote client too."""


@contextmanager
def _faults(address: int, length: int = 4) -> Iterator[None]:
    """Turn a bus fault and an error of the model into pyOCD's."""
    from harness.virtual.chip.bus import BusFault
    from harness.virtual.faults import ProbeGone

    try:
        yield
    except ProbeGone as gone:
        raise exceptions.ProbeDisconnected(str(gone)) from None
    except BusFault:
        raise exceptions.TransferFaultError(fault_address=address, length=length) from None
    except VirtualError as error:
        raise VirtualProbeError(
            error.what, where=error.where, expected=error.expected, fix=error.fix, **error.data
        ) from error


def _answer(value: _Value, now: bool) -> _Value | Callable[[], _Value]:
    """Return a value that was read as pyOCD wants it: at once, or from a function."""
    return value if now else lambda: value


class VirtualMemory(MemoryInterface):
    """Whole blocks at once, as a probe with a fast memory command does."""

    def __init__(self, access: DebugAccess) -> None:
        self._debugger = access.machine.debugger

    def write_memory(
        self, addr: int, data: int, transfer_size: int = 32, **_attributes: Any
    ) -> None:
        """Write one value of 8, 16, 32 or 64 bits."""
        self._write(addr, data.to_bytes(transfer_size // 8, "little"))

    def read_memory(
        self, addr: int, transfer_size: int = 32, now: bool = True, **_attributes: Any
    ) -> int | Callable[[], int]:
        """Read one value of 8, 16, 32 or 64 bits."""
        return _answer(int.from_bytes(self._read(addr, transfer_size // 8), "little"), now)

    def write_memory_block32(self, addr: int, data: Sequence[int], **_attributes: Any) -> None:
        """Write words."""
        self._write(addr, struct.pack(f"<{len(data)}I", *data))

    def read_memory_block32(self, addr: int, size: int, **_attributes: Any) -> Sequence[int]:
        """Read `size` words."""
        return list(struct.unpack(f"<{size}I", self._read(addr, 4 * size)))

    def write_memory_block8(self, addr: int, data: Sequence[int], **_attributes: Any) -> None:
        """Write bytes."""
        self._write(addr, bytes(data))

    def read_memory_block8(self, addr: int, size: int, **_attributes: Any) -> Sequence[int]:
        """Read `size` bytes."""
        return list(self._read(addr, size))

    def _read(self, address: int, count: int) -> bytes:
        with _faults(address, count):
            return self._debugger.read(address, count)

    def _write(self, address: int, content: bytes) -> None:
        with _faults(address, len(content)):
            self._debugger.write(address, content)


class VirtualProbe(DebugProbe):
    """The probe on a virtual board, ``virtual:<board>`` or ``virtual:<board>#<number>``."""

    def __init__(self, board: Board, number: int | None = None) -> None:
        super().__init__()
        self._board = board
        self._number = number
        self._access: DebugAccess | None = None
        self._protocol: DebugProbe.Protocol | None = None
        self._reset_asserted = False

    @classmethod
    def get_all_connected_probes(
        cls,
        unique_id: str | None = None,  # noqa: ARG003 - pyOCD filters
        is_explicit: bool = False,  # noqa: ARG003
    ) -> Sequence[VirtualProbe]:
        """Return a probe for every board that can be emulated."""
        return [cls(board) for board in all_boards() if board.facts.emulation]

    @classmethod
    def get_probe_with_id(
        cls,
        unique_id: str,
        is_explicit: bool = False,  # noqa: ARG003 - pyOCD's signature
    ) -> VirtualProbe | None:
        """Return the probe with this id (``virtual:`` may be left out), None if there is none."""
        wanted, mark, number = unique_id.lower().removeprefix(PREFIX).partition("#")
        if mark and not (number.isascii() and number.isdigit() and int(number)):
            return None
        for board in all_boards():
            if board.facts.emulation and board.id == wanted:
                return cls(board, int(number) if mark else None)
        return None

    # What it is.

    @property
    def vendor_name(self) -> str:
        """Maker of the probe."""
        return "TinyML Harness"

    @property
    def product_name(self) -> str:
        """Name of the probe."""
        return f"virtual {self._board.name} (emulated)"

    @property
    def harness_timing_model(self) -> str:
        """Timing model that counts its cycles, for the harness on another host."""
        return self._machine.model.identity

    @property
    def harness_timing(self) -> str:
        """Kind of timing model that a station of another host names."""
        return self._machine.model.kind

    @property
    def harness_seconds(self) -> float:
        """Virtual time, for the harness on another host."""
        return self._machine.now()

    @property
    def _machine(self) -> VirtualMachine:
        from harness.virtual.registry import get_machine

        return get_machine(self._board.id, self._number or 1)

    @property
    def unique_id(self) -> str:
        """``virtual:<board>``; the second of its type is ``virtual:<board>#2``."""
        return PREFIX + self._board.id + (f"#{self._number}" if self._number else "")

    @property
    def associated_board_info(self) -> BoardInfo:
        """The board that the probe is part of, with its pyOCD target."""
        return BoardInfo(
            name=self._board.name,
            target=self._board.facts.pyocd_target,
            vendor=self._board.vendor,
        )

    def create_associated_board(self) -> Any:
        """Create pyOCD's board object, so that the target need not be named."""
        from pyocd.board.board import Board as PyocdBoard

        return PyocdBoard(self.session, board_info=self.associated_board_info)

    @property
    def supported_wire_protocols(self) -> list[DebugProbe.Protocol]:
        """SWD only: no board connects the wires of JTAG."""
        return [DebugProbe.Protocol.DEFAULT, DebugProbe.Protocol.SWD]

    @property
    def wire_protocol(self) -> DebugProbe.Protocol | None:
        """The protocol once connected."""
        return self._protocol

    @property
    def capabilities(self) -> set[DebugProbe.Capability]:
        """Line switching and AP selection are the probe's affair."""
        return {DebugProbe.Capability.SWJ_SEQUENCE, DebugProbe.Capability.MANAGED_AP_SELECTION}

    # Life.

    @property
    def is_open(self) -> bool:
        """Whether the probe is open."""
        return self._access is not None

    def open(self) -> None:
        """Power the board on, if it is not, and attach to it."""
        from harness.virtual.ports.access_port import DebugAccess

        machine = self._machine
        machine.faults.probe_opened()
        self._access = DebugAccess(machine)

    def close(self) -> None:
        """Detach; the board stays on."""
        if self._reset_asserted:
            self.assert_reset(False)
        self._access = None

    def connect(
        self,
        protocol: DebugProbe.Protocol | None = None,  # noqa: ARG002 - there is only SWD
    ) -> None:
        """Connect; an error that stopped the board before is not this session's."""
        self._port.machine.core.debug.error = None
        self._protocol = DebugProbe.Protocol.SWD

    def disconnect(self) -> None:
        """Disconnect."""
        self._protocol = None

    @property
    def _port(self) -> DebugAccess:
        if self._access is None:
            raise exceptions.ProbeError(f"probe {self.unique_id} is not open")
        return self._access

    def swj_sequence(self, length: int, bits: int) -> None:
        """Take a line switching sequence; there is no line."""

    def set_clock(self, frequency: float) -> None:
        """Take a clock rate; there is no clock."""

    # Reset line.

    def reset(self) -> None:
        """Pulse the reset line."""
        self._port.machine.core.reset()

    def assert_reset(self, asserted: bool) -> None:
        """Drive the reset line."""
        self._reset_asserted = asserted
        self._port.machine.core.hold_reset(asserted)

    def is_reset_asserted(self) -> bool:
        """Return whether the reset line is driven."""
        return self._reset_asserted

    # DAP.

    def read_dp(self, addr: int, now: bool = True) -> int | Callable[[], int]:
        """Read a DP register."""
        return _answer(self._port.read_dp(addr), now)

    def write_dp(self, addr: int, data: int) -> None:
        """Write a DP register."""
        self._port.write_dp(addr, data)

    def read_ap(self, addr: int, now: bool = True) -> int | Callable[[], int]:
        """Read an AP register."""
        with _faults(addr):
            return _answer(self._port.read_ap(addr), now)

    def write_ap(self, addr: int, data: int) -> None:
        """Write an AP register."""
        with _faults(addr):
            self._port.write_ap(addr, data)

    def read_ap_multiple(
        self, addr: int, count: int = 1, now: bool = True
    ) -> Sequence[int] | Callable[[], Sequence[int]]:
        """Read an AP register `count` times."""
        with _faults(addr, 4 * count):
            return _answer([self._port.read_ap(addr) for _ in range(count)], now)

    def write_ap_multiple(self, addr: int, values: Sequence[int]) -> None:
        """Write an AP register several times."""
        with _faults(addr, 4 * len(values)):
            for value in values:
                self._port.write_ap(addr, value)

    def get_memory_interface_for_ap(self, ap_address: Any) -> MemoryInterface | None:
        """Return fast access to the memory behind AP 0."""
        return VirtualMemory(self._port) if ap_address.nominal_address == 0 else None


# If this module was imported before pyOCD, the plugin was asked for while it was half loaded.
PROBE_CLASSES.setdefault(PREFIX.removesuffix(":"), VirtualProbe)
