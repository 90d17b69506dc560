"""Commands to the device, encoded."""

from __future__ import annotations

from harness.protocol.lines import crc32

TERMINATOR = "%"

MAX_COMMAND_BYTES = 1152
"""Longest command that the device takes, terminator excluded."""
MAX_INPUT_CHUNK = 512
"""Most input bytes in one `hil-in`."""
MAX_REPEATS = 64
MAX_WARMUPS = 1000

SYNC = b"%"
"""The empty command: ends a half received one; answered by `m-ready`."""
ID, IO, SETUP, MEM = b"hil-id%", b"hil-io%", b"hil-setup%", b"hil-mem%"
TIME = b"hil-time%"
"""Cycle counter and timer at one moment."""
CYCLES = b"hil-cycles%"
"""The last run's results once more."""
ARENA_PARTS = b"hil-arena-parts%"


GUARD = b"hil-guard fault%"
"""Touch the guard of the stack: the device faults, or says that nothing guards it."""


def _command(*words: object) -> bytes:
    return (" ".join(str(word) for word in words) + TERMINATOR).encode("ascii")


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, {low} to {high} expected")


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


def encode_run(warmups: int, repeats: int) -> bytes:
    """Encode `hil-run`; ValueError for more than `MAX_WARMUPS` or `MAX_REPEATS`, or no repeat."""
    _check("warm-ups", warmups, 0, MAX_WARMUPS)
    _check("repeats", repeats, 1, MAX_REPEATS)
    return _command("hil-run", warmups, repeats)


def encode_crc(address: int, size: int) -> bytes:
    """Encode `hil-crc`, the checksum of flash; ValueError beyond nine digits, or for no byte."""
    _check("address", address, 0, 999_999_999)
    _check("size", size, 1, 999_999_999)
    return _command("hil-crc", address, size)


def encode_baud(rate: int) -> bytes:
    """Encode `hil-baud`, which changes the console's rate; ValueError beyond what it takes.

    The device answers at the old rate, and then waits half a second for an empty command at the new
    one; without it the old rate is back.
    """
    _check("rate", rate, 9600, 9_999_999)
    return _command("hil-baud", rate)


def encode_edge(address: int) -> bytes:
    """Encode `hil-edge`, unaligned accesses across an address; ValueError beyond nine digits."""
    _check("address", address, 0, 999_999_999)
    return _command("hil-edge", address)


def encode_layers(passes: int = 1) -> bytes:
    """Encode `hil-layers`; ValueError for no pass, or more than `MAX_REPEATS`."""
    _check("passes", passes, 1, MAX_REPEATS)
    return _command("hil-layers", passes)


def encode_output(index: int, offset: int, length: int) -> bytes:
    """Encode `hil-out`; ValueError for a negative place or no byte."""
    _check("index", index, 0, 99)
    _check("offset", offset, 0, 10**8)
    _check("length", length, 1, 10**8)
    return _command("hil-out", index, offset, length)


def encode_arena(size: int) -> bytes:
    """Encode `hil-arena`, which tries the model in `size` bytes; ValueError beyond nine digits."""
    _check("size", size, 0, 999_999_999)
    return _command("hil-arena", size)
