"""The contents of the device's lines: one frozen record per kind."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from harness.protocol.lines import Line

MAX_OUTPUT_CHUNK = 64
"""Most output bytes in one `m-hil-out` line."""
MAX_LAYERS = 256


class RecordError(ValueError):
    """A line whose CRC holds lacks a field or has an impossible value: another firmware version."""


@dataclass(frozen=True)
class Record:
    """Base of the records of one kind of line; fields are `int` or `str`, names are the keys."""

    def __init_subclass__(cls, *, kind: str) -> None:
        """Register the record for lines ``m-hil-KIND``."""
        super().__init_subclass__()
        _BY_KIND[kind] = cls


_BY_KIND: dict[str, type[Record]] = {}


@dataclass(frozen=True)
class Boot(Record, kind="boot"):
    """First line after reset; `reset` is the cause (``pin``, ``software``, ``power-on``...)."""

    build: str
    board: str
    reset: str


@dataclass(frozen=True)
class DeviceId(Record, kind="id"):
    """Answer to `hil-id`: what runs, on which chip, at which clock."""

    build: str  # build id, 16 hex digits
    board: str
    uid: str  # unique id of the chip, 16 or 24 hex digits
    model: str  # first 16 hex digits of the SHA-256 of the .tflite
    runtime: str  # name of the runtime
    kernels: str  # name of the kernels
    clock: int  # core clock in Hz
    # Reference of the core's clock, as the family calls it: on an STM32 ``hse`` (external clock),
    # ``lse`` (an oscillator locked to the crystal of 32.768 kHz), or ``hsi`` when the board's
    # reference is missing. `Clock.reference` is the one that a board is to run from.
    src: str
    icache: int  # 1 when on
    dcache: int  # 1 when on
    art: int  # flash accelerator: 1 on, 0 off, -1 where the chip has none
    counter: str  # cycle counter (``dwt``)
    baud: int  # console rate
    version: int  # version of this grammar


@dataclass(frozen=True)
class Tensor(Record, kind="io"):
    """One input or output: `dir` is ``in`` or ``out``."""

    dir: str
    idx: int
    bytes: int


@dataclass(frozen=True)
class TensorsEnd(Record, kind="io-end"):
    """End of the tensors; `n` is how many lines there were."""

    n: int


def encode_message(text: str) -> str:
    """Percent-encode a sentence as the device does (for fakes and tests)."""
    return quote(text, safe="!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def decode_message(value: str) -> str:
    """Return the sentence that a percent-encoded value stands for; never raises."""
    return unquote(value, errors="replace")


@dataclass(frozen=True)
class Setup(Record, kind="setup"):
    """Answer to `hil-setup`: `rc` is 0, or the runtime's code; `err` its text, percent-encoded."""

    rc: int
    err: str

    @property
    def message(self) -> str:
        """What the runtime says about it."""
        return decode_message(self.err)


@dataclass(frozen=True)
class ArenaTry(Record, kind="arena"):
    """Answer to `hil-arena`: set-up and one inference in `bytes` of the arena.

    `rc` is 0, or the runtime's code with its text in `err`; `out` is the CRC-32 of all output
    bytes, in eight hex digits, where `rc` is 0.
    """

    bytes: int
    rc: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """What the runtime says about it."""
        return decode_message(self.err)


@dataclass(frozen=True)
class ArenaPart(Record, kind="arena-part"):
    """Arena use by kind: bytes taken and requested in `count` allocations."""

    i: int
    kind: str
    used: int
    requested: int
    count: int


@dataclass(frozen=True)
class ArenaPartsEnd(Record, kind="arena-parts-end"):
    """End of the arena's parts; `n` is how many lines there were."""

    n: int


@dataclass(frozen=True)
class InputAck(Record, kind="in"):
    """`n` bytes of input `idx` were written at `off`."""

    idx: int
    off: int
    n: int


@dataclass(frozen=True)
class Cycle(Record, kind="cycle"):
    """Core cycles of repeat `i`."""

    i: int
    cycles: int


@dataclass(frozen=True)
class RunEnd(Record, kind="run-end"):
    """End of `hil-run`: `w` warm-ups and `n` timed inferences were done; `rc` of the last."""

    w: int
    n: int
    rc: int


@dataclass(frozen=True)
class Layer(Record, kind="layer"):
    """Core cycles of layer `i`; `op` is TFLite's operator name."""

    i: int
    cycles: int
    op: str
    name: str


@dataclass(frozen=True)
class LayersEnd(Record, kind="layers-end"):
    """End of `hil-layers`; `total` is the same pass end to end."""

    n: int
    total: int
    rc: int


@dataclass(frozen=True)
class Output(Record, kind="out"):
    """Bytes of output `idx` from `off`."""

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


@dataclass(frozen=True)
class OutputEnd(Record, kind="out-end"):
    """End of `hil-out`; `n` bytes were sent."""

    idx: int
    n: int


@dataclass(frozen=True)
class Memory(Record, kind="mem"):
    """Answer to `hil-mem`, in bytes; `arena_paint` is the high-water mark or -1 (not painted)."""

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


@dataclass(frozen=True)
class DeviceErr(Record, kind="err"):
    """The device refused a command: `code` says why, `cmd` which."""

    code: str
    cmd: str


@dataclass(frozen=True)
class Fault(Record, kind="fault"):
    """The core took a fault; registers in hex. The device is dead until reset."""

    exc: str
    pc: str
    lr: str
    sp: str
    psr: str
    cfsr: str
    hfsr: str
    bfar: str
    stack: str


@dataclass(frozen=True)
class Assertion(Record, kind="assert"):
    """An assertion does not hold; texts percent-encoded. The device is dead until reset."""

    line: int
    file: str
    func: str
    expr: str


@dataclass(frozen=True)
class FlashCrc(Record, kind="crc"):
    """Answer to `hil-crc`: CRC-32 of `bytes` of flash from `address`, in eight hex digits."""

    address: int
    bytes: int
    crc: str


@dataclass(frozen=True)
class Baud(Record, kind="baud"):
    """Answer to `hil-baud`, at the rate that was: the rate that follows."""

    rate: int


@dataclass(frozen=True)
class Edge(Record, kind="edge"):
    """Answer to `hil-edge`: of `tried` unaligned accesses across `address`, how many went wrong."""

    address: int
    tried: int
    wrong: int


@dataclass(frozen=True)
class Guard(Record, kind="guard"):
    """Answer to `hil-guard` where the guard of the stack does not hold."""

    held: int


@dataclass(frozen=True)
class Time(Record, kind="time"):
    """Answer to `hil-time`: both counters at one moment, since boot."""

    cycles: int  # core cycles, extended beyond the counter's 32 bits
    ticks: int  # microseconds by the 1 MHz timer, 32 bits
    counter: int  # what the cycle counter's register reads


def decode(line: Line) -> Record:
    """Convert a checked line to the record of its kind.

    Raises:
        RecordError: An unknown kind, a missing field, or a number that is none.
    """
    record = _BY_KIND.get(line.kind)
    if record is None:
        raise RecordError(f"unknown line m-hil-{line.kind}")
    values: dict[str, int | str] = {}
    for name, kind in record.__annotations__.items():
        if name not in line.fields:
            raise RecordError(f"m-hil-{line.kind} lacks '{name}': {dict(line.fields)}")
        text = line.fields[name]
        if kind == "int" and not re.fullmatch(r"-?[0-9]{1,20}", text):
            raise RecordError(f"m-hil-{line.kind}: '{name}' is {text!r}, a decimal number expected")
        values[name] = int(text) if kind == "int" else text
    return record(**values)
