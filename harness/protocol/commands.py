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


def encode_time() -> bytes:
    """Encode `hil-time`: cycle counter and timer at one moment."""
    return _command("hil-time")


def encode_crc(address: int, size: int) -> bytes:
    """Encode `hil-crc`: checksum of `size` bytes of flash.

    Raises:
        ValueError: An address or a size beyond nine digits, or no byte.
    """
    _check("address", address, 0, 999_999_999)
    _check("size", size, 1, 999_999_999)
    return _command("hil-crc", address, size)


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
