"""How long a measurement takes on hardware, by arithmetic: nothing here was timed on a board.

`docs/hardware.md` has the table that `expected_seconds` gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.boards import Board
from harness.capture.clock import BRACKET
from harness.protocol import MAX_INPUT_CHUNK

# Typical seconds at 2.7 to 3.6 V, by sector size in KiB, at x8 and x32. The data sheets' tables
# "flash memory programming" have them (DS10916 and DS11532 for the F7, DS10693 for the F446,
# DS12023 for the L4R5), but were not at hand: only the maxima at x8 were confirmed, in other
# projects' code.
_ERASE_S: Mapping[str, Mapping[int, tuple[float, float]]] = {
    "stm32f7": {32: (0.4, 0.2), 128: (1.1, 0.5), 256: (2.1, 1.0)},
    "stm32f4": {16: (0.4, 0.25), 64: (1.2, 0.55), 128: (2.0, 1.0)},
    "stm32l4": {4: (0.022, 0.022)},
    "stm32h7": {128: (2.0, 1.0)},  # at x8 and x64; assumed, as in the virtual chip
    "nrf52": {4: (0.085, 0.085)},  # nRF52840 Product Specification v1.7, NVMC
}
_PROGRAM_S_PER_BYTE = {
    "stm32f7": 16e-6 / 4,
    "stm32f4": 16e-6 / 4,
    "stm32l4": 82e-6 / 8,
    "stm32h7": 100e-6 / 32,  # assumed
    "nrf52": 41e-6 / 4,
}
# SWD: 46 clocks a word (request, acknowledge, turnarounds, 32 bits and parity).
_SWD_CLOCKS_PER_BYTE = 46 / 4
# A call of the flash algorithm is some 30 transfers of a millisecond each (USB frames).
_CALL_S = 0.03
_USB_S = 0.001
_RESET_S = 0.15
_BITS_PER_BYTE = 10
# Bytes on the line: an input chunk's command beside its digits, its answer; what a run answers
# besides layers; a layer; a reading of the counters with its command.
_CHUNK_BYTES, _ACK_BYTES, _ANSWERS_BYTES, _LAYER_BYTES, _TIME_BYTES = 26, 51, 1500, 75, 110
_LAYER_PASSES = 2


@dataclass(frozen=True, slots=True)
class Way:
    """How flash and console are used."""

    swd_hz: float
    x32: bool  # parallelism of erasing: 32 bits, or 8
    page_bytes: int  # what one call of the flash algorithm programs
    baud: int
    stamped: bool  # whether the time on the line is kept out of the clock's bracket


BEFORE = Way(swd_hz=1.8e6, x32=False, page_bytes=1024, baud=115_200, stamped=False)
AFTER = Way(swd_hz=4.6e6, x32=True, page_bytes=4096, baud=921_600, stamped=True)


@dataclass(frozen=True, slots=True)
class Work:
    """A network as a measurement sees it."""

    image_bytes: int
    input_bytes: int
    layers: int
    inference_s: float
    inferences: int = 4  # warm-ups and repeats


def expected_seconds(board: Board, work: Work, way: Way) -> dict[str, float]:
    """Return the seconds of each stage, with the names that a row has them by.

    All of the image is new to the flash; ``session`` is the clock check, once for all networks.
    """
    swd_s = _SWD_CLOCKS_PER_BYTE / way.swd_hz * work.image_bytes
    calls = -(-work.image_bytes // way.page_bytes)
    erase, left = 0.0, work.image_bytes
    for _, size in board.sectors():
        if left <= 0:
            break
        slow, fast = _ERASE_S[board.family][size // 1024]
        erase += fast if way.x32 else slow
        left -= size
    byte_s = _BITS_PER_BYTE / way.baud
    chunks = -(-work.input_bytes // MAX_INPUT_CHUNK)
    upload_bytes = 2 * work.input_bytes + chunks * (_CHUNK_BYTES + _ACK_BYTES)
    answers_bytes = _ANSWERS_BYTES + work.layers * _LAYER_BYTES
    reading_s = _USB_S * 1.3 + (0.0 if way.stamped else _TIME_BYTES * byte_s)
    return {
        "flash.erase": erase,
        # Compared with what is there, sent to the RAM, programmed.
        "flash.write": 2 * swd_s
        + calls * _CALL_S
        + work.image_bytes * _PROGRAM_S_PER_BYTE[board.family],
        "flash.verify": swd_s,
        "run.boot": _RESET_S,
        "run.upload": upload_bytes * byte_s + chunks * 2 * _USB_S,
        "run.inference": work.inferences * work.inference_s,
        "run.layers": _LAYER_PASSES * work.inference_s,
        "run.answers": answers_bytes * byte_s + 10 * _USB_S,
        "session": 2 * reading_s / BRACKET,
    }
