"""The contents of the device's lines: one frozen record per kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self, TypeAlias, get_args
from urllib.parse import quote, unquote

from harness.protocol.lines import Line

MAX_OUTPUT_CHUNK = 64
"""Most output bytes in one `m-hil-out` line."""
MAX_LAYERS = 256


class RecordError(ValueError):
    """A line whose CRC holds lacks a field or has an impossible value: another firmware version."""


@dataclass(frozen=True, slots=True)
class _Record:
    """Base of the typed records; field types are `int` or `str`, names are the keys."""

    KIND: ClassVar[str]

    @classmethod
    def from_line(cls, line: Line) -> Self:
        """Convert a checked line.

        Raises:
            RecordError: Another kind, a missing field, or a number that is none.
        """
        if line.kind != cls.KIND:
            raise RecordError(f"a m-hil-{line.kind} line, m-hil-{cls.KIND} expected")
        values: dict[str, int | str] = {}
        for name, kind in cls.__annotations__.items():
            if name.isupper():
                continue
            if name not in line.fields:
                raise RecordError(f"m-hil-{line.kind} lacks '{name}': {dict(line.fields)}")
            text = line.fields[name]
            values[name] = _integer(line.kind, name, text) if kind == "int" else text
        return cls(**values)


def _integer(kind: str, name: str, text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,20}", text):
        raise RecordError(f"m-hil-{kind}: '{name}' is {text!r}, a decimal number expected")
    return int(text)


@dataclass(frozen=True, slots=True)
class Boot(_Record):
    """First line after reset; `reset` is the cause (``pin``, ``software``, ``power-on``...)."""

    KIND: ClassVar[str] = "boot"
    build: str
    board: str
    reset: str


#: References (`DeviceId.src`) as good as a crystal; on another one a latency is not to be trusted.
TRUSTED_CLOCKS = frozenset({"hse", "lse"})


@dataclass(frozen=True, slots=True)
class DeviceId(_Record):
    """Answer to `hil-id`: what runs, on which chip, at which clock."""

    KIND: ClassVar[str] = "id"
    build: str  # build id, 16 hex digits
    board: str
    uid: str  # 96-bit unique id of the chip, 24 hex digits
    model: str  # first 16 hex digits of the SHA-256 of the .tflite
    runtime: str  # name of the runtime
    kernels: str  # name of the kernels
    clock: int  # core clock in Hz
    # Reference of the PLL: ``hse`` (external clock), ``lse`` (an oscillator locked to the crystal
    # of 32.768 kHz), or ``hsi`` when the board's reference is missing.
    src: str
    icache: int  # 1 when on
    dcache: int  # 1 when on
    art: int  # flash accelerator: 1 on, 0 off, -1 where the chip has none
    counter: str  # cycle counter (``dwt``)
    baud: int  # console rate
    version: int  # version of this grammar


@dataclass(frozen=True, slots=True)
class Tensor(_Record):
    """One input or output: `dir` is ``in`` or ``out``."""

    KIND: ClassVar[str] = "io"
    dir: str
    idx: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TensorsEnd(_Record):
    """End of the tensors; `n` is how many lines there were."""

    KIND: ClassVar[str] = "io-end"
    n: int


def encode_message(text: str) -> str:
    """Percent-encode a sentence as the device does (for fakes and tests)."""
    return quote(text, safe="!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def decode_message(value: str) -> str:
    """Return the sentence that a percent-encoded value stands for; never raises."""
    return unquote(value, errors="replace")


@dataclass(frozen=True, slots=True)
class Setup(_Record):
    """Answer to `hil-setup`: `rc` is 0, or the runtime's code; `err` its text, percent-encoded."""

    KIND: ClassVar[str] = "setup"
    rc: int
    err: str

    @property
    def message(self) -> str:
        """What the runtime says about it."""
        return decode_message(self.err)


@dataclass(frozen=True, slots=True)
class ArenaTry(_Record):
    """Answer to `hil-arena`: set-up and one inference in `bytes` of the arena.

    `rc` is 0, or the runtime's code with its text in `err`; `out` is the CRC-32 of all output
    bytes, in eight hex digits, where `rc` is 0.
    """

    KIND: ClassVar[str] = "arena"
    bytes: int
    rc: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What the runtime says about it."""
        return decode_message(self.err)


@dataclass(frozen=True, slots=True)
class ArenaPart(_Record):
    """Arena use by kind: bytes taken and requested in `count` allocations."""

    KIND: ClassVar[str] = "arena-part"
    i: int
    kind: str
    used: int
    requested: int
    count: int


@dataclass(frozen=True, slots=True)
class ArenaPartsEnd(_Record):
    """End of the arena's parts; `n` is how many lines there were."""

    KIND: ClassVar[str] = "arena-parts-end"
    n: int


@dataclass(frozen=True, slots=True)
class InputAck(_Record):
    """`n` bytes of input `idx` were written at `off`."""

    KIND: ClassVar[str] = "in"
    idx: int
    off: int
    n: int


@dataclass(frozen=True, slots=True)
class Cycle(_Record):
    """Core cycles of repeat `i`."""

    KIND: ClassVar[str] = "cycle"
    i: int
    cycles: int


@dataclass(frozen=True, slots=True)
class RunEnd(_Record):
    """End of `hil-run`: `w` warm-ups and `n` timed inferences were done; `rc` of the last."""

    KIND: ClassVar[str] = "run-end"
    w: int
    n: int
    rc: int


@dataclass(frozen=True, slots=True)
class Layer(_Record):
    """Core cycles of layer `i`; `op` is TFLite's operator name."""

    KIND: ClassVar[str] = "layer"
    i: int
    cycles: int
    op: str
    name: str


@dataclass(frozen=True, slots=True)
class LayersEnd(_Record):
    """End of `hil-layers`; `total` is the same pass end to end."""

    KIND: ClassVar[str] = "layers-end"
    n: int
    total: int
    rc: int


@dataclass(frozen=True, slots=True)
class Output(_Record):
    """Bytes of output `idx` from `off`."""

    KIND: ClassVar[str] = "out"
    idx: int
    off: int
    hex: str

    @property
    def data(self) -> bytes:
        """The bytes.

        Raises:
            RecordError: An odd number of digits, or something that is no hex digit.
        """
        try:
            return bytes.fromhex(self.hex)
        except ValueError:
            raise RecordError(f"m-hil-out: hex is {self.hex!r}") from None


@dataclass(frozen=True, slots=True)
class OutputEnd(_Record):
    """End of `hil-out`; `n` bytes were sent."""

    KIND: ClassVar[str] = "out-end"
    idx: int
    n: int


@dataclass(frozen=True, slots=True)
class Memory(_Record):
    """Answer to `hil-mem`, in bytes; `arena_paint` is the high-water mark or -1 (not painted)."""

    KIND: ClassVar[str] = "mem"
    arena_planned: int
    arena_used: int
    arena_capacity: int
    arena_paint: int
    stack_used: int
    stack_size: int

    @property
    def painted(self) -> int | None:
        """High-water mark of the painted arena, None where the runtime leaves no paint."""
        return None if self.arena_paint < 0 else self.arena_paint


@dataclass(frozen=True, slots=True)
class DeviceErr(_Record):
    """The device refused a command: `code` says why, `cmd` which."""

    KIND: ClassVar[str] = "err"
    code: str
    cmd: str


@dataclass(frozen=True, slots=True)
class Fault(_Record):
    """The core took a fault; registers in hex. The device is dead until reset."""

    KIND: ClassVar[str] = "fault"
    exc: str
    pc: str
    lr: str
    sp: str
    psr: str
    cfsr: str
    hfsr: str
    bfar: str
    stack: str


@dataclass(frozen=True, slots=True)
class Assertion(_Record):
    """An assertion does not hold; texts percent-encoded. The device is dead until reset."""

    KIND: ClassVar[str] = "assert"
    line: int
    file: str
    func: str
    expr: str


@dataclass(frozen=True, slots=True)
class FlashCrc(_Record):
    """Answer to `hil-crc`: CRC-32 of `bytes` of flash from `address`, in eight hex digits."""

    KIND: ClassVar[str] = "crc"
    address: int
    bytes: int
    crc: str


@dataclass(frozen=True, slots=True)
class Time(_Record):
    """Answer to `hil-time`: both counters at one moment, since boot."""

    KIND: ClassVar[str] = "time"
    cycles: int  # core cycles, extended beyond the counter's 32 bits
    ticks: int  # microseconds by the 1 MHz timer, 32 bits
    counter: int  # what the cycle counter's register reads


Record: TypeAlias = (
    Boot
    | DeviceId
    | Tensor
    | TensorsEnd
    | Setup
    | InputAck
    | Cycle
    | RunEnd
    | Layer
    | LayersEnd
    | Output
    | OutputEnd
    | Memory
    | ArenaTry
    | ArenaPart
    | ArenaPartsEnd
    | DeviceErr
    | Fault
    | Assertion
    | Time
    | FlashCrc
)

_BY_KIND: dict[str, type[Record]] = {record.KIND: record for record in get_args(Record)}


def decode(line: Line) -> Record:
    """Convert a line to the record of its kind.

    Raises:
        RecordError: The kind is unknown or the fields are not its.
    """
    record = _BY_KIND.get(line.kind)
    if record is None:
        raise RecordError(f"unknown line m-hil-{line.kind}")
    return record.from_line(line)
