"""Capture: flash an image on a station, run it, and read checked answers over its UART."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.capture.record import (
    ArenaReading,
    Capture,
    CapturePlan,
    Identity,
)

if TYPE_CHECKING:
    from harness.capture.session import BoardSession

__all__ = [
    "ArenaReading",
    "BoardSession",
    "Capture",
    "CapturePlan",
    "Identity",
]


def __getattr__(name: str) -> Any:
    # The session pulls in pyserial; the records do not.
    if name == "BoardSession":
        from harness.capture.session import BoardSession

        return BoardSession
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
