"""Agree with the device upon a faster console, and fall back where the wire does not carry it.

Inputs and outputs are what takes long on the line: 28 KB of input are 5 s at 115,200 baud and 0.7 s
at 921,600. A board says which rate its probe's port and its UART take (an ST-LINK and the UARTs of
STM32s 921,600, RM0385 31.5.4; the dividers are off by 0.69 % on the F7, 0.35 % on the F446), but a
long cable or another bridge may not.
"""

from __future__ import annotations

import time
from typing import Any

from harness import protocol
from harness.boards import Board
from harness.capture.console import Console
from harness.errors import BoardError, CaptureTimeout
from harness.firmware.boardconfig import check_baud

# The device waits half a second for the host at the new rate (bench_console.c, PATIENCE_US).
_DEVICE_WAITS_S = 0.5
_ANSWER_S, _SLACK_S = 1.0, 0.3
# The device's UART is off for a moment, and a byte may be lost: several short tries.
_SWITCH_S, _TRIES, _TRY_S = 0.01, 3, 0.1


def best_rate(board: Board, wanted: int) -> int | None:
    """Return `wanted`, None where the board's UART cannot run at it."""
    try:
        check_baud(board, wanted)
    except BoardError:
        return None
    return wanted


def raise_rate(console: Console, port: Any, wanted: int) -> bool:
    """Change the rate of both sides to `wanted`; return whether it holds, else all is as before.

    Raises:
        CaptureTimeout: The device does not answer at the old rate either.
    """
    usual = port.baudrate
    if console.tell(protocol.encode_baud(wanted), protocol.Baud, timeout_s=_ANSWER_S) is None:
        return False  # refused, or lost: it goes back by itself
    since = time.monotonic()
    console.set_rate(wanted)
    time.sleep(_SWITCH_S)
    for number in range(_TRIES):
        if console.answers(_TRY_S):
            if number:
                time.sleep(_TRY_S)  # for late answers to the earlier ones
                console.restart(f"{wanted} baud")
            return True
    console.set_rate(usual)
    time.sleep(max(0.0, since + _DEVICE_WAITS_S + _SLACK_S - time.monotonic()))
    console.restart("the old rate")
    if not (console.answers(_ANSWER_S) or console.answers(_ANSWER_S)):
        raise console.failure(
            CaptureTimeout,
            f"the device does not answer at {usual} baud after {wanted} were tried",
            fix=f"set the station's 'baud' to {usual} in bench.toml",
        )
    return False
