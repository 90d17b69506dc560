"""Capture: flash an image on a station, run it, and read checked answers over its UART."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.capture.record import (
    ArenaPartReading,
    ArenaReading,
    Capture,
    CapturePlan,
    Identity,
    MemoryReading,
)

if TYPE_CHECKING:
    from harness.capture.session import BoardSession

__all__ = [
    "ArenaPartReading",
    "ArenaReading",
    "BoardSession",
    "Capture",
    "CapturePlan",
    "Identity",
    "MemoryReading",
]


def __getattr__(name: str) -> Any:
    # The session pulls in pyserial; the records do not.
    if name == "BoardSession":
        from harness.capture.session import BoardSession

        return BoardSession
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
