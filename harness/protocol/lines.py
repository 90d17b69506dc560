"""Lines of the device: cut from the byte stream, checked, parsed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

READY = "m-ready"
INIT_DONE = "m-init-done"

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


@dataclass(frozen=True, slots=True)
class Line:
    """A `m-hil-` line whose CRC holds."""

    kind: str  # what follows ``m-hil-``
    seq: int  # count of `m-hil-` lines since the device booted
    fields: Mapping[str, str]  # its ``key=value`` pairs


@dataclass(frozen=True, slots=True)
class Ready:
    """The device waits for the next command."""


@dataclass(frozen=True, slots=True)
class Text:
    """An MLPerf Tiny line (``m-...`` or ``e-[...]``): no CRC, for people and stock tools only."""

    text: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """Bytes that are no line of the grammar, or whose CRC does not hold."""

    raw: bytes  # the bytes as they came
    reason: str  # why they were refused


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
        # One damaged byte hits our prefix or the CRC's mark, never both; MLPerf lines have neither.
        if "hil" in text or "#" in text or not _MLPERF.fullmatch(text):
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


class LineAssembler:
    """Cut a byte stream into lines; bytes may come in any pieces.

    A line ends at LF. What is longer than `MAX_LINE_BYTES` without one is given up as one
    `Garbled`, so that noise cannot fill the memory.
    """

    def __init__(self) -> None:
        self.pending = b""  # bytes of the line that is not complete yet
        self._overlong = False

    def feed(self, data: bytes) -> list[Parsed]:
        """Add `data`; return the lines that it completed, in order. Empty lines are dropped."""
        done: list[Parsed] = []
        *ended, rest = (self.pending + data).split(b"\n")
        for raw in ended:
            if raw.strip(b"\r") and not self._overlong:
                done.append(parse_line(raw + b"\n"))
            self._overlong = False
        if len(rest) > MAX_LINE_BYTES and not self._overlong:
            done.append(Garbled(rest, f"more than {MAX_LINE_BYTES} bytes without a line end"))
            self._overlong = True
        self.pending = b"" if self._overlong else rest
        return done

    def reset(self) -> None:
        """Forget an incomplete line (after the device was reset)."""
        self.pending = b""
        self._overlong = False
