"""Capture: flash an image on a station, run it, and read checked answers over its UART."""

from harness.capture.record import ArenaReading, Capture, CapturePlan, Identity

__all__ = ["ArenaReading", "Capture", "CapturePlan", "Identity"]
