"""The wire grammar between host and firmware: encode, parse, check; no I/O.

Host to device: one ASCII command ended by ``%``. Device to host: lines ended by CR LF; every
command ends with ``m-ready``. The harness's own lines carry a sequence number and a CRC-32::

    m-hil-<kind> <seq> key=value key=value ... #<crc32>

The CRC is zlib's CRC-32 of every byte before `` #``, in eight lower-case hex digits. MLPerf Tiny's
lines (``m-name-dut-[..]``, ``m-lap-us-..``) have no CRC, so nothing that is stored is taken from
them.
`firmware_template/src/bench_console.c` is the device's side of the same grammar.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Self, TypeAlias, TypeVar
from urllib.parse import quote, unquote

VERSION = 2
"""Version of the grammar; `hil-id` reports the device's."""

TERMINATOR = "%"
READY = "m-ready"
INIT_DONE = "m-init-done"

MAX_COMMAND_BYTES = 1152
"""Longest command that the device takes, terminator excluded."""
MAX_INPUT_CHUNK = 512
"""Most input bytes in one `hil-in`."""
MAX_OUTPUT_CHUNK = 64
"""Most output bytes in one `m-hil-out` line."""
MAX_REPEATS = 64
MAX_WARMUPS = 1000
MAX_LAYERS = 256
MAX_LINE_BYTES = 1024
"""A longer line is not one of ours."""

_PREFIX = "m-hil-"
_LINE = re.compile(
    r"m-hil-(?P<kind>[a-z]+(?:-[a-z]+)*) (?P<seq>0|[1-9][0-9]{0,9})"
    r"(?P<fields>(?: [a-z][a-z0-9_]*=[!-~]*)*) #(?P<crc>[0-9a-f]{8})"
)
_KIND = re.compile(r"[a-z]+(?:-[a-z]+)*")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_VALUE = re.compile(r"[!-~]*")
_MLPERF = re.compile(r"[me]-[!-~][ -~]*")


def crc32(text: str | bytes) -> str:
    """Return the CRC-32 of `text` as eight lower-case hex digits."""
    data = text.encode("ascii") if isinstance(text, str) else text
    return f"{zlib.crc32(data):08x}"


# --- lines -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """A `m-hil-` line whose CRC holds.

    Attributes:
        kind: What follows ``m-hil-``.
        seq: Count of `m-hil-` lines since the device booted.
        fields: Its ``key=value`` pairs.
    """

    kind: str
    seq: int
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ready:
    """The device waits for the next command."""


@dataclass(frozen=True, slots=True)
class Text:
    """An MLPerf Tiny line (``m-...`` or ``e-[...]``): no CRC, for people and stock tools only."""

    text: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that are no line of the grammar, or whose CRC does not hold.

    Attributes:
        raw: The bytes as they came.
        reason: Why they were refused.
    """

    raw: bytes
    reason: str


Parsed: TypeAlias = Line | Ready | Text | Garbled


def encode_line(kind: str, seq: int, fields: Mapping[str, object] | None = None) -> bytes:
    """Encode a `m-hil-` line as the device does, CR LF included (for fakes and tests).

    Raises:
        ValueError: A kind, key or value that the grammar cannot carry.
    """
    if not _KIND.fullmatch(kind):
        raise ValueError(f"kind {kind!r} is not lower-case words joined by '-'")
    if not 0 <= seq < 10**10:
        raise ValueError(f"sequence number {seq} is out of range")
    parts = [f"{_PREFIX}{kind} {seq}"]
    for key, value in (fields or {}).items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(str(value)):
            raise ValueError(f"field {key!r}={value!r} has characters that a line cannot carry")
        parts.append(f"{key}={value}")
    body = " ".join(parts)
    return f"{body} #{crc32(body)}\r\n".encode("ascii")


def parse_line(raw: bytes | str) -> Parsed:
    """Parse one line, with or without its line end; never raises.

    Returns:
        `Line` when it is a `m-hil-` line and its CRC holds; `Ready`; `Text` for a line of MLPerf
        Tiny's; `Garbled` for everything else, damaged `m-hil-` lines included.
    """
    data = raw.encode("utf-8", "surrogateescape") if isinstance(raw, str) else bytes(raw)
    body = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(body) > MAX_LINE_BYTES:
        return Garbled(data, f"{len(body)} bytes, a line has at most {MAX_LINE_BYTES}")
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        return Garbled(data, "bytes outside ASCII")
    if text == READY:
        return Ready()
    match = _LINE.fullmatch(text)
    if match is None:
        if _looks_like_ours(text) or not _MLPERF.fullmatch(text):
            return Garbled(data, "not a line of the grammar")
        return Text(text)
    expected = crc32(text[: match.start("crc") - 2])
    if expected != match["crc"]:
        return Garbled(data, f"CRC is {match['crc']}, {expected} expected")
    fields: dict[str, str] = {}
    for part in match["fields"].split():
        key, _, value = part.partition("=")
        if key in fields:
            return Garbled(data, f"key '{key}' is there twice")
        fields[key] = value
    return Line(match["kind"], int(match["seq"]), MappingProxyType(fields))


def _looks_like_ours(text: str) -> bool:
    # One damaged byte hits the prefix or the CRC's mark, never both; MLPerf lines have neither.
    return "hil" in text or "#" in text


class LineAssembler:
    """Cut a byte stream into lines; bytes may come in any pieces.

    A line ends at LF. What is longer than `MAX_LINE_BYTES` without one is given up as one
    `Garbled`, so that noise cannot fill the memory.
    """

    def __init__(self) -> None:
        self._pending = bytearray()
        self._overlong = False

    @property
    def pending(self) -> bytes:
        """Bytes of the line that is not complete yet."""
        return bytes(self._pending)

    def feed(self, data: bytes) -> list[Parsed]:
        """Add `data`; return the lines that it completed, in order. Empty lines are dropped."""
        done: list[Parsed] = []
        *ended, rest = (bytes(self._pending) + data).split(b"\n")
        for raw in ended:
            if self._overlong:
                self._overlong = False
                continue
            if raw.strip(b"\r"):
                done.append(parse_line(raw + b"\n"))
        if self._overlong:
            rest = b""
        elif len(rest) > MAX_LINE_BYTES:
            done.append(Garbled(rest, f"more than {MAX_LINE_BYTES} bytes without a line end"))
            self._overlong = True
            rest = b""
        self._pending = bytearray(rest)
        return done

    def reset(self) -> None:
        """Forget an incomplete line (after the device was reset)."""
        self._pending.clear()
        self._overlong = False


# --- typed records ---------------------------------------------------------------------------


class RecordError(ValueError):
    """A line whose CRC holds lacks a field or has an impossible value: another firmware version."""


R = TypeVar("R", bound="_Record")


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


@dataclass(frozen=True, slots=True)
class DeviceId(_Record):
    """Answer to `hil-id`: what runs, on which chip, at which clock.

    Attributes:
        build: Build id, 16 hex digits.
        board: Board id.
        uid: 96-bit unique id of the chip, 24 hex digits.
        model: First 16 hex digits of the SHA-256 of the .tflite.
        runtime: Name of the runtime.
        kernels: Name of the kernels.
        clock: Core clock in Hz.
        src: Source of the PLL: ``hse``, or ``hsi`` when the external clock is missing.
        icache: 1 when on.
        dcache: 1 when on.
        counter: Cycle counter (``dwt``).
        baud: Console rate.
        version: Version of this grammar.
    """

    KIND: ClassVar[str] = "id"
    build: str
    board: str
    uid: str
    model: str
    runtime: str
    kernels: str
    clock: int
    src: str
    icache: int
    dcache: int
    counter: str
    baud: int
    version: int


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
    """Where arena goes: bytes taken and asked for in `count` allocations of one kind."""

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
)

_RECORDS: tuple[type[Record], ...] = (
    Boot, DeviceId, Tensor, TensorsEnd, Setup, InputAck, Cycle, RunEnd, Layer, LayersEnd, Output,
    OutputEnd, Memory, ArenaTry, ArenaPart, ArenaPartsEnd, DeviceErr, Fault,
)  # fmt: skip
_BY_KIND: dict[str, type[Record]] = {record.KIND: record for record in _RECORDS}


def decode(line: Line) -> Record:
    """Convert a line to the record of its kind.

    Raises:
        RecordError: The kind is unknown or the fields are not its.
    """
    record = _BY_KIND.get(line.kind)
    if record is None:
        raise RecordError(f"unknown line m-hil-{line.kind}")
    return record.from_line(line)


# --- commands --------------------------------------------------------------------------------


def _command(*words: object) -> bytes:
    return (" ".join(str(word) for word in words) + TERMINATOR).encode("ascii")


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, {low} to {high} expected")


def encode_sync() -> bytes:
    """Encode the empty command: ends a half received one; answered by `m-ready`."""
    return TERMINATOR.encode("ascii")


def encode_id() -> bytes:
    """Encode `hil-id`."""
    return _command("hil-id")


def encode_io() -> bytes:
    """Encode `hil-io`."""
    return _command("hil-io")


def encode_setup() -> bytes:
    """Encode `hil-setup`."""
    return _command("hil-setup")


def encode_input(index: int, offset: int, data: bytes) -> bytes:
    """Encode `hil-in`: `data` goes to byte `offset` of input `index`.

    Raises:
        ValueError: No data, or more than `MAX_INPUT_CHUNK` bytes.
    """
    _check("index", index, 0, 99)
    _check("offset", offset, 0, 10**8)
    _check("length", len(data), 1, MAX_INPUT_CHUNK)
    body = f"{index} {offset} {data.hex()}"
    return _command("hil-in", body, crc32(body))


def encode_inputs(index: int, data: bytes) -> list[bytes]:
    """Encode as many `hil-in` commands as input `index` needs."""
    starts = range(0, len(data), MAX_INPUT_CHUNK)
    return [encode_input(index, at, data[at : at + MAX_INPUT_CHUNK]) for at in starts]


def encode_run(warmups: int, repeats: int) -> bytes:
    """Encode `hil-run`.

    Raises:
        ValueError: More than `MAX_WARMUPS` or `MAX_REPEATS`, or no repeat.
    """
    _check("warm-ups", warmups, 0, MAX_WARMUPS)
    _check("repeats", repeats, 1, MAX_REPEATS)
    return _command("hil-run", warmups, repeats)


def encode_cycles() -> bytes:
    """Encode `hil-cycles`: the last run's results once more."""
    return _command("hil-cycles")


def encode_layers(passes: int = 1) -> bytes:
    """Encode `hil-layers`; the last of `passes` is reported.

    Raises:
        ValueError: No pass, or more than `MAX_REPEATS`.
    """
    _check("passes", passes, 1, MAX_REPEATS)
    return _command("hil-layers", passes)


def encode_output(index: int, offset: int, length: int) -> bytes:
    """Encode `hil-out`."""
    _check("index", index, 0, 99)
    _check("offset", offset, 0, 10**8)
    _check("length", length, 1, 10**8)
    return _command("hil-out", index, offset, length)


def encode_mem() -> bytes:
    """Encode `hil-mem`."""
    return _command("hil-mem")


def encode_arena(size: int) -> bytes:
    """Encode `hil-arena`: try the model in `size` bytes of its arena.

    Raises:
        ValueError: A negative size, or one that no microcontroller has.
    """
    _check("size", size, 0, 999_999_999)
    return _command("hil-arena", size)


def encode_arena_parts() -> bytes:
    """Encode `hil-arena-parts`."""
    return _command("hil-arena-parts")
